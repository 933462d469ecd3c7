package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"torrente/payment/contract"
)

// sumSuffix names the file that says what the file of rows looks like: its
// length u64 | CRC-32C u32, of contract.Layout and the file. It need not be synced: one
// that is lost or older than the rows only means that they are made anew.
const sumSuffix = ".sum"

func sumOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	h := crc32.New(castagnoli)
	h.Write([]byte{contract.Layout}) // which never fails
	n, err := io.CopyBuffer(h, f, make([]byte, 1<<20))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(n)), h.Sum32()), nil
}

// writeSum notes what the file at path looks like now.
func writeSum(path string) error {
	sum, err := sumOf(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path+sumSuffix, sum, 0o600)
}

// checkSum compares the file at path, if there is one, with its note. The
// error is errRows if it is another than was noted.
func checkSum(path string) error {
	sum, err := sumOf(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	noted, err := os.ReadFile(path + sumSuffix)
	if err != nil || !bytes.Equal(sum, noted) {
		return fmt.Errorf("%w (its file is not as it was left)", errRows)
	}
	return nil
}

// removeRows deletes the derived state.
func removeRows(path string) error {
	for _, name := range []string{path, path + sumSuffix} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
