// Package archive reads and writes snapshot archives: a gzip-compressed tar of meta.json (what the snapshot is),
// state.bin (the replicated state, opaque to this package) and SHA256SUMS (of the other two, in the format of
// sha256sum). It owns no goroutine. What it keeps true: Read returns a state only if every byte of the archive is what
// Write wrote.
package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// Version is the version of the archive's layout that Write writes.
const Version = 1

// The archive's files, in order.
const (
	metaFile  = "meta.json"
	stateFile = "state.bin"
	sumsFile  = "SHA256SUMS"
)

// maxSmall bounds meta.json and SHA256SUMS.
const maxSmall = 1 << 20

// ErrInvalid is what every error about an archive's content wraps.
var ErrInvalid = errors.New("not a valid snapshot archive")

// Meta says what a snapshot is. Size is the number of bytes of the state.
type Meta struct {
	Version     int       `json:"version"`
	ID          string    `json:"id"`
	Index       uint64    `json:"index"` // of the last log entry in it
	Term        uint64    `json:"term"`
	Size        int64     `json:"size"`
	CreatedAt   time.Time `json:"created_at"`
	ClusterID   string    `json:"cluster_id"`
	ClusterName string    `json:"cluster_name"`
	NodeName    string    `json:"node_name"` // that took it
	Pgraft      string    `json:"pgraft"`    // version of the program that took it
}

// Write writes an archive of the state, which must be exactly meta.Size bytes.
func Write(w io.Writer, meta Meta, state io.Reader) error {
	meta.Version = Version
	metaBytes, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", metaFile, err)
	}
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	metaSum, stateSum := sha256.New(), sha256.New()
	if err := add(out, metaFile, meta.CreatedAt, int64(len(metaBytes)), io.TeeReader(bytes.NewReader(metaBytes), metaSum)); err != nil {
		return err
	}
	if err := add(out, stateFile, meta.CreatedAt, meta.Size, io.TeeReader(state, stateSum)); err != nil {
		return err
	}
	sums := sumLine(metaSum, metaFile) + sumLine(stateSum, stateFile)
	if err := add(out, sumsFile, meta.CreatedAt, int64(len(sums)), bytes.NewReader([]byte(sums))); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	return nil
}

func add(out *tar.Writer, name string, at time.Time, size int64, content io.Reader) error {
	err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: at, Typeflag: tar.TypeReg})
	if err != nil {
		return fmt.Errorf("write header of %s: %w", name, err)
	}
	n, err := io.Copy(out, content)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if n != size {
		return fmt.Errorf("write %s: %d bytes where %d were announced", name, n, size)
	}
	return nil
}

func sumLine(sum hash.Hash, name string) string {
	return hex.EncodeToString(sum.Sum(nil)) + "  " + name + "\n"
}

// Read reads a whole archive, copies its state to w and checks all of it. A state over maxState bytes is refused
// before it is read; 0 means any size. What w got is worth nothing if Read returns an error.
func Read(r io.Reader, w io.Writer, maxState int64) (Meta, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return Meta{}, invalid("read gzip header", err)
	}
	in := tar.NewReader(zip)
	metaBytes, err := small(in, metaFile)
	if err != nil {
		return Meta{}, err
	}
	meta, err := decodeMeta(metaBytes, maxState)
	if err != nil {
		return Meta{}, err
	}
	metaSum, stateSum := sha256.New(), sha256.New()
	metaSum.Write(metaBytes)
	if err := copyState(in, io.MultiWriter(w, stateSum), meta.Size); err != nil {
		return meta, err
	}
	sums, err := small(in, sumsFile)
	if err != nil {
		return meta, err
	}
	if string(sums) != sumLine(metaSum, metaFile)+sumLine(stateSum, stateFile) {
		return meta, fmt.Errorf("%w: the checksums of %s don't match: it is damaged", ErrInvalid, sumsFile)
	}
	return meta, atEnd(in, zip)
}

// Verify reads a whole archive and checks it.
func Verify(r io.Reader) (Meta, error) { return Read(r, io.Discard, 0) }

func decodeMeta(data []byte, maxState int64) (Meta, error) {
	var meta Meta
	if err := json.Unmarshal(data, &meta); err != nil {
		return Meta{}, invalid("decode "+metaFile, err)
	}
	switch {
	case meta.Version != Version:
		return meta, fmt.Errorf("%w: layout version %d, this program reads %d", ErrInvalid, meta.Version, Version)
	case meta.Size < 0:
		return meta, fmt.Errorf("%w: a state of %d bytes", ErrInvalid, meta.Size)
	case maxState > 0 && meta.Size > maxState:
		return meta, fmt.Errorf("%w: a state of %d bytes, over the limit of %d", ErrInvalid, meta.Size, maxState)
	}
	return meta, nil
}

func next(in *tar.Reader, name string) (*tar.Header, error) {
	header, err := in.Next()
	if err != nil {
		return nil, invalid("look for "+name, err)
	}
	if header.Name != name || header.Typeflag != tar.TypeReg {
		return nil, fmt.Errorf("%w: found %q where %s should be", ErrInvalid, header.Name, name)
	}
	return header, nil
}

func small(in *tar.Reader, name string) ([]byte, error) {
	header, err := next(in, name)
	if err != nil {
		return nil, err
	}
	if header.Size > maxSmall {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrInvalid, name, header.Size)
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return nil, invalid("read "+name, err)
	}
	return data, nil
}

func copyState(in *tar.Reader, w io.Writer, size int64) error {
	header, err := next(in, stateFile)
	if err != nil {
		return err
	}
	if header.Size != size {
		return fmt.Errorf("%w: %s has %d bytes where %s says %d", ErrInvalid, stateFile, header.Size, metaFile, size)
	}
	n, err := io.Copy(w, in)
	if err != nil {
		return invalid("read "+stateFile, err)
	}
	if n != size {
		return fmt.Errorf("%w: %s ends after %d bytes of %d", ErrInvalid, stateFile, n, size)
	}
	return nil
}

// atEnd reads on to the end, which is where gzip's own checksum is.
func atEnd(in *tar.Reader, zip *gzip.Reader) error {
	if header, err := in.Next(); err == nil {
		return fmt.Errorf("%w: %q after the last file", ErrInvalid, header.Name)
	} else if !errors.Is(err, io.EOF) {
		return invalid("read the end", err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(zip, maxSmall)); err != nil {
		return invalid("read the end", err)
	} else if n == maxSmall {
		return fmt.Errorf("%w: it goes on after its end", ErrInvalid)
	}
	return nil
}

func invalid(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s: it is cut short", ErrInvalid, what)
	}
	return fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
}
