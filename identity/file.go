package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// ErrExists means that a key would have been overwritten, and with it the only
// way to the coins of its account.
var ErrExists = errors.New("a key file is already there: keep it, or move it away first")

// CreateKeyFile seals key into a new file that only its owner may read. It
// returns ErrExists rather than replace one. Two processes that create the
// same file at once are kept apart by the lock on the home folder.
func CreateKeyFile(path string, password []byte, key *ecdsa.PrivateKey, cost Cost) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return fmt.Errorf("%s: %w", path, ErrExists)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return ReplaceKeyFile(path, password, key, cost)
}

// ReplaceKeyFile seals key into the file at path, there or not, as a change of
// password does. After a crash the file is the old or the new one, whole.
func ReplaceKeyFile(path string, password []byte, key *ecdsa.PrivateKey, cost Cost) error {
	sealed, err := SealKey(password, key, cost)
	if err != nil {
		return fmt.Errorf("seal %s: %w", path, err)
	}
	return writeDurably(path, sealed, 0o600)
}

// ReadKeyFile opens a sealed key. Its errors are those of OpenKey, with path.
func ReadKeyFile(path string, password []byte) (*ecdsa.PrivateKey, error) {
	sealed, err := readBounded(path, maxSealedBytes)
	if err != nil {
		return nil, err
	}
	key, err := OpenKey(password, sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// WriteCertificateFile stores certificates as PEM, the leaf first. They are
// public: everybody may read the file.
func WriteCertificateFile(path string, chain []*x509.Certificate) error {
	return writeDurably(path, EncodeCertificates(chain), 0o644)
}

// ReadCertificateFile reads a file of PEM certificates, at most 4.
func ReadCertificateFile(path string) ([]*x509.Certificate, error) {
	text, err := readBounded(path, maxPEMBytes)
	if err != nil {
		return nil, err
	}
	chain, err := DecodeCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return chain, nil
}

// writeDurably replaces the file at path: data to a new file, synced, renamed
// over the old one, and the folder synced so that the rename survives too.
func writeDurably(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := replaceFile(path, dir, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// replaceFile does not use renameio.WriteFile, which would give a key the
// permissions of the file that was there before.
func replaceFile(path, dir string, data []byte, perm fs.FileMode) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(perm))
	if err != nil {
		return err
	}
	// After the rename it does nothing; before it, the error that led here
	// matters more.
	defer func() { _ = f.Cleanup() }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// readBounded reads a regular file of at most limit bytes. Without O_NONBLOCK
// a FIFO in its place would block the program at start.
func readBounded(path string, limit int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes: it is not the file it should be", path, limit)
	}
	return data, nil
}
