package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// cfbEncrypt and cfbDecrypt are AES in CFB mode with whole-block feedback
// (NIST SP 800-38A 6.3, s = 128): each block of ciphertext is the plaintext
// xor the encryption of the ciphertext before it. They work in place; the last
// block may be short. CFB protects no integrity: the key file's HMAC does.

func cfbEncrypt(key, iv, data []byte) error {
	block, feedback, err := startCFB(key, iv)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		block.Encrypt(feedback, feedback)
		n := subtle.XORBytes(data, data, feedback)
		copy(feedback, data[:n])
		data = data[n:]
	}
	return nil
}

func cfbDecrypt(key, iv, data []byte) error {
	block, feedback, err := startCFB(key, iv)
	if err != nil {
		return err
	}
	var next [aes.BlockSize]byte
	for len(data) > 0 {
		block.Encrypt(feedback, feedback)
		n := copy(next[:], data)
		subtle.XORBytes(data, data, feedback)
		copy(feedback, next[:n])
		data = data[n:]
	}
	return nil
}

func startCFB(key, iv []byte) (cipher.Block, []byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	return block, append(make([]byte, 0, aes.BlockSize), iv...), nil
}
