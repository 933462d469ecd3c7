// Package store keeps a torrent's pieces in files, verifies them, and
// remembers across crashes which are verified.
//
// Files are sparse, opened below one folder through os.Root, read with pread
// and written with pwrite: no mmap, whose errors are signals, and no O_SYNC.
// After a clean shutdown, or a crash of the process alone, what the resume
// record says is believed; after a crash of the machine everything is checked
// again, so the data itself need not be synced block by block.
//
// It starts no goroutine but those that hash files at creation, and decides
// nothing: which blocks to ask for is up to package swarm.
package store
