package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/pgraft/pgraft/api"
	"github.com/pgraft/pgraft/api/archive"
	"github.com/pgraft/pgraft/fsm"
)

// snapshotIdle is how long a snapshot's transfer may stand still.
const snapshotIdle = time.Minute

// snapshotGet answers with an archive. The state is copied to disk and checked first: once the answer has begun,
// nothing can tell the client that what it gets is wrong.
func (s *Server) snapshotGet(w http.ResponseWriter, r *request) error {
	if err := s.barrier(r); err != nil {
		return err
	}
	file, err := s.tempFile()
	if err != nil {
		return err
	}
	defer discard(file)
	meta, err := s.takeSnapshot(r.Context(), file)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/gzip")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=\"pgraft-%d.snap\"", meta.Index))
	s.setReadHeaders(w, meta.Index)
	return archive.Write(&patientWriter{w: w, controller: http.NewResponseController(w)}, meta, file)
}

func (s *Server) takeSnapshot(ctx context.Context, file *os.File) (archive.Meta, error) {
	meta, state, err := s.cfg.Snapshots.Snapshot(ctx)
	if err != nil {
		return meta, err
	}
	n, err := io.Copy(file, state)
	if err := errors.Join(err, state.Close()); err != nil {
		return meta, fmt.Errorf("read snapshot: %w", err)
	}
	if n != meta.Size {
		return meta, fmt.Errorf("read snapshot: %d bytes where %d were announced", n, meta.Size)
	}
	if err := checkState(file); err != nil {
		return meta, fmt.Errorf("check snapshot: %w", err)
	}
	return meta, nil
}

// checkState reads the whole state back from disk as a restore would, and leaves the file at its start.
func checkState(file *os.File) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := fsm.InspectSnapshot(file); err != nil {
		return err
	}
	_, err := file.Seek(0, io.SeekStart)
	return err
}

// snapshotPut restores an archive once all of it has arrived and every check has passed.
func (s *Server) snapshotPut(w http.ResponseWriter, r *request) error {
	file, err := s.tempFile()
	if err != nil {
		return err
	}
	defer discard(file)
	body := &patientReader{r: r.Body, controller: http.NewResponseController(w)}
	meta, err := archive.Read(body, file, s.cfg.MaxSnapshot)
	if err != nil {
		return archiveError(err)
	}
	if err := checkState(file); err != nil {
		return badRequest("the archive is whole, but its state is not: %v", err)
	}
	s.cfg.Logger.Info("restore snapshot", "index", meta.Index, "size", meta.Size, "cluster", meta.ClusterName, "taken", meta.CreatedAt)
	return done(w, s.cfg.Snapshots.Restore(r.Context(), meta, file))
}

func archiveError(err error) error {
	if errors.Is(err, archive.ErrInvalid) {
		return &api.Error{Code: api.CodeBadRequest, Message: err.Error(), Hint: "nothing was changed; pgraft snapshot inspect checks a file"}
	}
	return fmt.Errorf("keep archive: %w", err)
}

func (s *Server) tempFile() (*os.File, error) {
	file, err := os.CreateTemp(s.cfg.TempDir, "pgraft-snapshot-*")
	if err != nil {
		return nil, fmt.Errorf("make room for snapshot: %w", err)
	}
	return file, nil
}

func discard(file *os.File) {
	_ = file.Close()
	_ = os.Remove(file.Name())
}

// patientReader lets a long body take its time as long as it moves.
type patientReader struct {
	r          io.Reader
	controller *http.ResponseController
}

// Read gives the next piece a deadline of its own.
func (p *patientReader) Read(buf []byte) (int, error) {
	_ = p.controller.SetReadDeadline(time.Now().Add(snapshotIdle))
	return p.r.Read(buf)
}

// patientWriter is the same for a long answer.
type patientWriter struct {
	w          io.Writer
	controller *http.ResponseController
}

// Write gives the next piece a deadline of its own.
func (p *patientWriter) Write(buf []byte) (int, error) {
	_ = p.controller.SetWriteDeadline(time.Now().Add(snapshotIdle))
	return p.w.Write(buf)
}
