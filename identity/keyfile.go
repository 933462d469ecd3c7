package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Layout of a sealed file, integers big endian (docs/protocol.md, "Key file"):
//
//	 0  "TRNTKEY1"
//	 8  time u32 | rows u32 | columns u32   cost of the derivation
//	20  salt, 32 bytes
//	52  IV, 16 bytes
//	68  n u32
//	72  ciphertext, n bytes
//	72+n   HMAC-SHA-256 of everything before it
//	104+n  SHA-256 of everything before it
const (
	sealMagic   = "TRNTKEY1"
	saltStart   = 20
	ivStart     = saltStart + 32
	lengthStart = ivStart + 16
	headerBytes = lengthStart + 4
	tailBytes   = 2 * sha256.Size

	maxPayloadBytes = 4096 // a P-256 key needs 138
	maxSealedBytes  = headerBytes + maxPayloadBytes + tailBytes

	cipherKeyBytes = 32 // AES-256
	macKeyBytes    = 32
)

var (
	// ErrDamaged means that a sealed file is not as it was written.
	ErrDamaged = errors.New("the key file is damaged: restore it from a copy")
	// ErrWrongPassword means that a whole sealed file does not open.
	ErrWrongPassword = errors.New("wrong password for the key file: try again")
	// ErrUnknownFormat means that a whole file is sealed in another manner.
	ErrUnknownFormat = errors.New("the key file has a format that this version does not know: update the program")
	// ErrPassword means that a password is too long to be one.
	ErrPassword = fmt.Errorf("the password is longer than %d bytes: choose a shorter one", maxPasswordBytes)
)

// Seal encrypts payload, at most 4,096 bytes, under password. The answer is a
// whole key file. The cost is recorded in it.
func Seal(password, payload []byte, cost Cost) ([]byte, error) {
	var random [lengthStart - saltStart]byte
	// It never fails: the runtime ends the program if the kernel has no randomness.
	_, _ = rand.Read(random[:])
	return seal(password, payload, cost, random)
}

// seal is Seal with the salt and IV to use.
func seal(password, payload []byte, cost Cost, saltAndIV [lengthStart - saltStart]byte) ([]byte, error) {
	if len(payload) > maxPayloadBytes {
		return nil, fmt.Errorf("seal %d bytes: more than %d", len(payload), maxPayloadBytes)
	}
	f := make([]byte, 0, headerBytes+len(payload)+tailBytes)
	f = append(f, sealMagic...)
	for _, v := range [...]uint32{cost.Time, cost.Rows, cost.Columns} {
		f = binary.BigEndian.AppendUint32(f, v)
	}
	f = append(f, saltAndIV[:]...)
	f = binary.BigEndian.AppendUint32(f, uint32(len(payload)))
	keys, err := deriveKeys(password, f[saltStart:ivStart], cost)
	if err != nil {
		return nil, err
	}
	defer clear(keys[:])
	f = append(f, payload...)
	if err := cfbEncrypt(keys[:cipherKeyBytes], f[ivStart:lengthStart], f[headerBytes:]); err != nil {
		return nil, err
	}
	f = append(f, mac(keys[cipherKeyBytes:], f)...)
	sum := sha256.Sum256(f)
	return append(f, sum[:]...), nil
}

// Open decrypts a key file. Its errors are ErrDamaged, ErrUnknownFormat,
// ErrCost, ErrPassword and ErrWrongPassword. Only ErrWrongPassword is worth
// another try, and only for it the derivation is paid: the digest over the
// whole file, wrong after any accident, is looked at first.
func Open(password, file []byte) ([]byte, error) {
	cost, err := readHeader(file)
	if err != nil {
		return nil, err
	}
	keys, err := deriveKeys(password, file[saltStart:ivStart], cost)
	if err != nil {
		return nil, err
	}
	defer clear(keys[:])
	end := len(file) - tailBytes
	if !hmac.Equal(mac(keys[cipherKeyBytes:], file[:end]), file[end:end+sha256.Size]) {
		return nil, ErrWrongPassword
	}
	payload := append([]byte(nil), file[headerBytes:end]...)
	if err := cfbDecrypt(keys[:cipherKeyBytes], file[ivStart:lengthStart], payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// readHeader checks all that can be checked without the password.
func readHeader(file []byte) (Cost, error) {
	if len(file) < headerBytes+tailBytes || len(file) > maxSealedBytes {
		return Cost{}, fmt.Errorf("%w (%d bytes cannot be one)", ErrDamaged, len(file))
	}
	body := len(file) - sha256.Size
	if sha256.Sum256(file[:body]) != [sha256.Size]byte(file[body:]) {
		return Cost{}, ErrDamaged
	}
	if string(file[:len(sealMagic)]) != sealMagic {
		return Cost{}, ErrUnknownFormat
	}
	if n := binary.BigEndian.Uint32(file[lengthStart:]); uint64(n) != uint64(len(file)-headerBytes-tailBytes) {
		return Cost{}, fmt.Errorf("%w (it should hold %d bytes)", ErrDamaged, n)
	}
	cost := Cost{
		Time:    binary.BigEndian.Uint32(file[8:]),
		Rows:    binary.BigEndian.Uint32(file[12:]),
		Columns: binary.BigEndian.Uint32(file[16:]),
	}
	return cost, cost.check()
}

// deriveKeys makes the cipher key and, after it, the MAC key.
func deriveKeys(password, salt []byte, cost Cost) (keys [cipherKeyBytes + macKeyBytes]byte, err error) {
	if len(password) > maxPasswordBytes {
		return keys, ErrPassword
	}
	if err := cost.check(); err != nil {
		return keys, err
	}
	err = lyra2(keys[:], password, salt, cost)
	return keys, err
}

func mac(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}
