// Package metainfo reads and writes torrent files and magnet links.
//
// It does not touch files or sockets: who creates a torrent brings the hashes,
// and who opens the files of one does so through piece/store. It does not know
// peers, pieces on disk or payments; of payments it knows only the mark that
// says a torrent is sold.
//
// What it returns is safe to use without another look: no path leaves the
// download folder, no two files meet, every sum fits an int64, and the parts of
// a hybrid torrent and its piece layers agree. What it refuses, it refuses with
// a sentence that names the field or the file. Memory stays within a small
// multiple of the input.
//
// # Names
//
// A torrent that names files as no honest program does is refused: "." or ".."
// as a part of a path, a slash or a NUL byte inside one, a file where another
// needs a folder, two files on one path. What honest programs do produce is made usable,
// as libtorrent does it, so that both find the same files: bytes that are not
// UTF-8 and control characters become "_", backslashes and characters that turn
// the writing direction vanish, an empty name becomes "_", a name longer than
// 255 bytes is shortened and keeps its extension. The hashes are over the
// bytes as they came, so none of this changes them.
//
// Names that differ only in case are different files, as they are in the
// kernel's own source tree; where the file system folds case, piece/store finds
// the second one taken. Names that only Windows reserves pass.
//
// Links (BEP 47) are left out of Files and never created: their target is the
// creator's choice, and nothing of the content is lost without them.
package metainfo
