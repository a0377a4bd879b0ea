// Package redisengine keeps tasks, results, streams and locks on one Redis, in
// the layout of kombu and Celery: Python workers take from the same queues,
// and Python clients read the same results.
//
// # Whose is what
//
// Lists of queues, bindings, envelopes, result keys and channels are kombu's
// and Celery's, to the byte. What they have no place for lies in keys of ours,
// which begin with "rhubarb:" behind the prefix, so that neither side's
// bookkeeping touches the other's:
//
//	run            hash   id → claim: fence, attempt, deliveries, owner … (lua/parts/claim.lua)
//	held:<owner>   hash   id → envelope, while the owner holds it
//	live           zset   owner → end of its lease
//	delayed:<q>    zset   step and envelope → due
//	due            zset   queue → when its next delayed message is due
//	seen:<n>       hash   id and round → published or done, for two to four minutes
//	revoked        zset   id → until when it is not handed out
//	want           zset   id → until when somebody watches it
//	s:<name>       stream records of a stream; m:<name> its facts
//	dead, parked   zset   shelves; <shelf>:m their messages
//	v:<id>, k:<key>, lock:<name>, fence, queues, tick, epoch
//
// A message is taken by a script that moves it from the list into held and
// writes its claim in the same step, so that a kill -9 loses nothing. A process
// renews one lease for all it holds; when it falls silent, whoever is there puts
// what it held back.
//
// A task that runs once and writes no stream costs no key but Celery's result:
// its reset and end are read off the claim and the result. The stream is made
// when there is something to keep.
//
// # Reading the source
//
// lua/parts/claim.lua and lua/take.lua, then receive.go and settle.go, publish.go,
// keep.go (leases that ended, messages that are due), streams.go.
package redisengine
