// Package crashfs is a disk that forgets what was not synced.
//
// A File is a real file, used as ever; its Disk remembers what of it is
// durable, and all that was done since. PowerOff stops everything: from then on
// every operation fails with ErrPower and changes nothing. Lose then leaves the
// files as a loss of power might: each sector as it was at some moment since
// the last sync, the length likewise, in the order in which a file system with
// a journal of names and lengths keeps them. So written sectors may be missing
// before others that are there, a long file may read as zeros at its end, and
// what was cut off may be back.
//
// The package makes no files and renames none, and it keeps no databases:
// bbolt's file is put back by its test to what its last returned Update left.
package crashfs
