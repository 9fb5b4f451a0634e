package fsm

import (
	memdb "github.com/hashicorp/go-memdb"

	"github.com/pgraft/pgraft/api"
)

// Settings returns the cluster-wide settings by name.
func (s *Store) Settings(ws memdb.WatchSet) (uint64, []api.Setting) {
	txn := s.read()
	var settings []api.Setting
	each(txn, ws, tableSetting, indexID, func(row *api.Setting) bool {
		settings = append(settings, *row)
		return true
	})
	return changed(txn, nil, tableSetting), settings
}

// Setting returns one setting, nil if it is not set.
func (s *Store) Setting(ws memdb.WatchSet, name string) (uint64, *api.Setting) {
	txn := s.read()
	row := first[*api.Setting](txn, ws, tableSetting, indexID, name)
	if row == nil {
		return changed(txn, nil, tableSetting), nil
	}
	found := *row
	return row.ModifyIndex, &found
}

func (w *write) setting(name string) *api.Setting {
	return first[*api.Setting](w.txn, nil, tableSetting, indexID, name)
}

func (w *write) settingSet(op SettingSet) Result {
	row := &api.Setting{Name: op.Name, Value: op.Value, CreateIndex: w.index, ModifyIndex: w.index}
	if old := w.setting(op.Name); old != nil {
		row.CreateIndex = old.CreateIndex
	}
	w.put(tableSetting, row)
	w.touch(tableSetting)
	w.emit(Row{Table: TableSetting, Key: row.Name, Setting: row})
	w.event("setting", "", "setting "+op.Name+" was set", map[string]string{"name": op.Name})
	return w.done()
}

func (w *write) settingDelete(op SettingDelete) Result {
	result := w.done()
	if old := w.setting(op.Name); old != nil {
		w.drop(tableSetting, old)
		w.touch(tableSetting)
		w.emit(Row{Table: TableSetting, Key: old.Name})
		w.event("setting", "", "setting "+op.Name+" was removed", map[string]string{"name": op.Name})
		result.Deleted = 1
	}
	return result
}
