// Package failpoint lets tests kill the process at named points of the code.
//
// It injects no errors and delays nothing, and without the build tag failpoint
// it is empty: Hit and HitIf compile to nothing. With the tag, these environment
// variables say what happens:
//
//	TORRENTE_FAILPOINT=NAME@N      SIGKILL at the Nth time that point NAME is reached
//	TORRENTE_FAILPOINT=SEED:RANGE  SIGKILL at the kth time that any point is reached,
//	                               k drawn from 1 ... RANGE by the seed
//	TORRENTE_FAILPOINT_LOG=FILE    append "hit NAME" the first time that a point is
//	                               reached, and "kill NAME N" just before the kill
//
// A name is package.thing.moment, as wallet.links.written. A value that is
// neither form ends the process at its start with exit code 2.
package failpoint
