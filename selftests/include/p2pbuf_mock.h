/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/p2pbuf-mock: partners for the importers and exporters of this project
 * that do on command what real ones do once in a blue moon.
 *
 * Between kernel/mock/mock_*.c and the tests only; no stable interface. Root
 * only. A mock dma-buf is named by its fd, everything else by an id of the
 * open file; closing the file ends all of it.
 *
 * Every wait inside is bounded by the caller's milliseconds, so a deadlock
 * ends as ETIME and not as a hung guest.
 *
 * Errors: EINVAL malformed, ENOENT no object of that id and kind, EBADFD not a
 * mock dma-buf, ENODEV no such device or it is gone, EBUSY pinned, ETIME a
 * wait ran out, ENXIO no mapping to take a reference on, ENOLINK the device of a BAR is
 * gone; else what the call that was asked for returned.
 */
#ifndef P2PBUF_MOCK_H
#define P2PBUF_MOCK_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/p2pbuf_path.h>

#define P2PBUF_MOCK_DEVICE	"/dev/p2pbuf-mock"
#define P2PBUF_MOCK_DRIVER	"p2pbuf_mock"

/* What the old place is filled with after a move. */
#define P2PBUF_MOCK_POISON	0xdbdbdbdbdbdbdbdbULL

/* ---- exporter -------------------------------------------------------------- */

/**
 * enum p2pbuf_mock_placement - where the bytes of a buffer are
 * @P2PBUF_MOCK_PAGES: system pages
 * @P2PBUF_MOCK_BAR: the BAR of a function bound to the driver p2pbuf_mock
 */
enum p2pbuf_mock_placement {
	P2PBUF_MOCK_PAGES,
	P2PBUF_MOCK_BAR,
};

/* Pages follow each other in an order of their own, see seed. */
#define P2PBUF_MOCK_SHUFFLE	(1U << 0)
/* An exporter without pin and unpin. */
#define P2PBUF_MOCK_STATIC	(1U << 1)

/**
 * struct p2pbuf_mock_create - make a dma-buf
 * @size: in, bytes, a multiple of 4096
 * @placement: in, one of &enum p2pbuf_mock_placement
 * @device: in, for a BAR: domain << 16 | bus << 8 | devfn, 0 for the first
 * @flags: in, P2PBUF_MOCK_SHUFFLE, P2PBUF_MOCK_STATIC
 * @seed: in, of the order of pages
 * @fd: out
 * @pad: 0
 */
struct p2pbuf_mock_create {
	__u64 size;
	__u32 placement;
	__u32 device;
	__u32 flags;
	__u32 seed;
	__s32 fd;
	__u32 pad;
};

/**
 * enum p2pbuf_mock_shape - what the table of the next mappings looks like
 * @P2PBUF_MOCK_WHOLE: as few segments as possible
 * @P2PBUF_MOCK_SINGLE: a segment for each page
 * @P2PBUF_MOCK_ODD: segments of 1, 2, 3, 5 and 7 pages
 * @P2PBUF_MOCK_ZEROLEN: with segments of length 0 between the others
 * @P2PBUF_MOCK_LONG: the last page twice: more than the buffer
 * @P2PBUF_MOCK_EMPTY: no segment at all
 * @P2PBUF_MOCK_SHORT: without the last page
 * @P2PBUF_MOCK_UNALIGNED_ADDR: the first address is not that of a page
 * @P2PBUF_MOCK_UNALIGNED_LEN: the first segment is not made of whole pages
 * @P2PBUF_MOCK_RAW: physical addresses, not mapped for the device
 * @P2PBUF_MOCK_NOBODY: the middle page is an address that leads nowhere:
 *	behind an IOMMU one that was unmapped, else one without memory
 * @P2PBUF_MOCK_PAST_END: the last page is the one behind the end of the BAR
 * @P2PBUF_MOCK_BEYOND_MASK: the last page is beyond the device's DMA mask
 * @P2PBUF_MOCK_WRAP: the last page begins in the last page of all addresses
 *	and is two pages long
 * @P2PBUF_MOCK_MSI: the last page is where interrupts go
 */
enum p2pbuf_mock_shape {
	P2PBUF_MOCK_WHOLE,
	P2PBUF_MOCK_SINGLE,
	P2PBUF_MOCK_ODD,
	P2PBUF_MOCK_ZEROLEN,
	P2PBUF_MOCK_LONG,
	P2PBUF_MOCK_EMPTY,
	P2PBUF_MOCK_SHORT,
	P2PBUF_MOCK_UNALIGNED_ADDR,
	P2PBUF_MOCK_UNALIGNED_LEN,
	P2PBUF_MOCK_RAW,
	P2PBUF_MOCK_NOBODY,
	P2PBUF_MOCK_PAST_END,
	P2PBUF_MOCK_BEYOND_MASK,
	P2PBUF_MOCK_WRAP,
	P2PBUF_MOCK_MSI,
	P2PBUF_MOCK_SHAPES,
};

/**
 * struct p2pbuf_mock_set_shape - choose the shape of mappings to come
 * @fd: in
 * @shape: in, one of &enum p2pbuf_mock_shape
 */
struct p2pbuf_mock_set_shape {
	__s32 fd;
	__u32 shape;
};

/**
 * enum p2pbuf_mock_op - calls into the exporter that rules apply to
 * @P2PBUF_MOCK_OP_ATTACH: without the resv
 * @P2PBUF_MOCK_OP_DETACH: without the resv; cannot fail
 * @P2PBUF_MOCK_OP_PIN: with the resv
 * @P2PBUF_MOCK_OP_MAP: with the resv
 * @P2PBUF_MOCK_OP_UNMAP: with the resv; cannot fail
 * @P2PBUF_MOCK_OP_BEGIN_CPU: without the resv
 * @P2PBUF_MOCK_OP_END_CPU: without the resv
 */
enum p2pbuf_mock_op {
	P2PBUF_MOCK_OP_ATTACH,
	P2PBUF_MOCK_OP_DETACH,
	P2PBUF_MOCK_OP_PIN,
	P2PBUF_MOCK_OP_MAP,
	P2PBUF_MOCK_OP_UNMAP,
	P2PBUF_MOCK_OP_BEGIN_CPU,
	P2PBUF_MOCK_OP_END_CPU,
	P2PBUF_MOCK_OPS,
};

/**
 * enum p2pbuf_mock_action - what a rule does
 * @P2PBUF_MOCK_FAIL: fail with errno value; value 0 makes a map return NULL
 * @P2PBUF_MOCK_STALL: sleep until the rules are cleared, at most value ms
 * @P2PBUF_MOCK_STALL_SIGNAL: MAP only: likewise, and fail with ERESTARTSYS on
 *	a signal
 * @P2PBUF_MOCK_FENCE: MAP only: add a KERNEL fence that signals after value ms
 * @P2PBUF_MOCK_FENCE_RESV: likewise, and needs the resv to signal
 * @P2PBUF_MOCK_RELOCATE: MAP only: move to other pages first, telling all
 *	importers and waiting up to value ms for their fences
 * @P2PBUF_MOCK_TAKE_BACK: like a revoke from here on with ENODEV
 */
enum p2pbuf_mock_action {
	P2PBUF_MOCK_FAIL,
	P2PBUF_MOCK_STALL,
	P2PBUF_MOCK_STALL_SIGNAL,
	P2PBUF_MOCK_FENCE,
	P2PBUF_MOCK_FENCE_RESV,
	P2PBUF_MOCK_RELOCATE,
	P2PBUF_MOCK_TAKE_BACK,
	P2PBUF_MOCK_ACTIONS,
};

/**
 * struct p2pbuf_mock_rule - act on calls to come
 * @fd: in
 * @op: in, one of &enum p2pbuf_mock_op
 * @action: in, one of &enum p2pbuf_mock_action
 * @value: in, depends on @action
 * @skip: in, calls to let pass first
 * @times: in, calls to act on then; 0 for all
 */
struct p2pbuf_mock_rule {
	__s32 fd;
	__u32 op;
	__u32 action;
	__u32 value;
	__u32 skip;
	__u32 times;
};

/* Reserve the slot of a fence of our own before telling importers, as TTM. */
#define P2PBUF_MOCK_RESERVE_FIRST	(1U << 0)
/*
 * Do not wait with the resv held: add a KERNEL fence, be at the new place at
 * once, and copy when importers' fences have signalled, as GPU drivers do.
 * Implies P2PBUF_MOCK_RESERVE_FIRST. MOVE still returns when all is done.
 */
#define P2PBUF_MOCK_PIPELINED		(1U << 1)

/**
 * struct p2pbuf_mock_move - MOVE to another place, or REVOKE
 * @fd: in
 * @placement: in, MOVE: one of &enum p2pbuf_mock_placement
 * @device: in, MOVE: as in &struct p2pbuf_mock_create
 * @flags: in, MOVE: P2PBUF_MOCK_RESERVE_FIRST, P2PBUF_MOCK_PIPELINED
 * @seed: in, MOVE: of the order of pages, when the buffer is shuffled
 * @err: in, REVOKE: errno that mapping fails with from now on; 0 allows it
 *	again
 * @wait_ms: in, how long to wait for fences; ETIME and nothing moved then
 * @unmap_ms: in, how long to wait, without the resv, until no mapping of the
 *	old place is left
 * @fence_us: out, how long it took until all fences had signalled
 * @unmap_us: out, how long after that until the last unmap
 * @stale: out, mappings of the old place that are still there
 * @pad: 0
 */
struct p2pbuf_mock_move {
	__s32 fd;
	__u32 placement;
	__u32 device;
	__u32 flags;
	__u32 seed;
	__u32 err;
	__u32 wait_ms;
	__u32 unmap_ms;
	__u64 fence_us;
	__u64 unmap_us;
	__u32 stale;
	__u32 pad;
};

/**
 * struct p2pbuf_mock_buffer_info - what happened to a buffer
 * @fd: in
 * @placement: out
 * @generation: out, from 1, one more for each move
 * @attaches: out, successful ones
 * @detaches: out
 * @static_attaches: out, of importers that are not dynamic
 * @deaf_attaches: out, of importers without an invalidate callback
 * @maps: out, successful ones
 * @map_failures: out
 * @unmaps: out
 * @pins: out
 * @unpins: out
 * @invalidations: out, times all importers were told
 * @live: out, mappings that exist
 * @stale: out, those among them of a place the buffer has left
 * @locked: out, somebody holds the resv right now
 * @kernel_fences: out, fences of use KERNEL that have not signalled
 * @fences: out, fences of any use that have not signalled
 * @unmapped_active: out, a mapping was unmapped while I/O of a mock importer
 *	was using it
 * @moved_active: out, the wait for fences ended while I/O was using the place
 * @late_words: out, words of places it left that changed after the move
 */
struct p2pbuf_mock_buffer_info {
	__s32 fd;
	__u32 placement;
	__u64 generation;
	__u64 attaches;
	__u64 detaches;
	__u64 static_attaches;
	__u64 deaf_attaches;
	__u64 maps;
	__u64 map_failures;
	__u64 unmaps;
	__u64 pins;
	__u64 unpins;
	__u64 invalidations;
	__u32 live;
	__u32 stale;
	__u32 locked;
	__u32 kernel_fences;
	__u32 fences;
	__u32 unmapped_active;
	__u32 moved_active;
	__u32 late_words;
};

/**
 * struct p2pbuf_mock_data - the CPU's access to the bytes
 * @fd: in
 * @write: in, 1 to the buffer, 0 from it
 * @offset: in
 * @len: in
 * @data: in, address of the user's bytes
 */
struct p2pbuf_mock_data {
	__s32 fd;
	__u32 write;
	__u64 offset;
	__u64 len;
	__u64 data;
};

/* ---- fences and holds, on any dma-buf ---------------------------------------- */

/* As enum dma_resv_usage of the kernel. */
#define P2PBUF_MOCK_KERNEL	0
#define P2PBUF_MOCK_WRITE	1
#define P2PBUF_MOCK_READ	2
#define P2PBUF_MOCK_BOOKKEEP	3

/* Signalling takes the resv; the mock does not wait for it, as BACKGROUND. */
#define P2PBUF_MOCK_NEEDS_RESV	(1U << 0)
/* Moves and holds of the mock do not wait for it. */
#define P2PBUF_MOCK_BACKGROUND	(1U << 1)

/**
 * struct p2pbuf_mock_fence - add a fence
 * @fd: in, any dma-buf
 * @usage: in, P2PBUF_MOCK_KERNEL, ...
 * @ms: in, signal after that; 0: on SIGNAL, or when it is closed
 * @flags: in, P2PBUF_MOCK_NEEDS_RESV, P2PBUF_MOCK_BACKGROUND
 * @id: out
 * @pad: 0
 */
struct p2pbuf_mock_fence {
	__s32 fd;
	__u32 usage;
	__u32 ms;
	__u32 flags;
	__u32 id;
	__u32 pad;
};

/**
 * enum p2pbuf_mock_hold_mode - why somebody holds the resv
 * @P2PBUF_MOCK_HOLD_PLAIN: hold it for ms, or until RELEASE
 * @P2PBUF_MOCK_HOLD_WAIT: tell importers and wait for their fences, all with
 *	the resv held: an eviction
 * @P2PBUF_MOCK_HOLD_KFD: the same, then a KERNEL fence that signals only after
 *	a second round of it (a restore): the shape of amdgpu's KFD, which
 *	deadlocks with an importer that waits for that fence with the resv held
 *	or with I/O in flight. The second round begins on RELEASE or after ms.
 * @P2PBUF_MOCK_HOLD_CHAIN: tell importers, add a KERNEL fence that signals
 *	when theirs have, let go of the resv: a pipelined move. Deadlocks with
 *	an importer whose fence depends on KERNEL fences.
 */
enum p2pbuf_mock_hold_mode {
	P2PBUF_MOCK_HOLD_PLAIN,
	P2PBUF_MOCK_HOLD_WAIT,
	P2PBUF_MOCK_HOLD_KFD,
	P2PBUF_MOCK_HOLD_CHAIN,
	P2PBUF_MOCK_HOLD_MODES,
};

/**
 * enum p2pbuf_mock_hold_state - how far a hold is
 * @P2PBUF_MOCK_HOLD_STARTING: has not got the resv
 * @P2PBUF_MOCK_HOLD_HELD: PLAIN has it; the others have told importers
 * @P2PBUF_MOCK_HOLD_FENCED: KFD and CHAIN: the KERNEL fence is there and the
 *	resv free
 * @P2PBUF_MOCK_HOLD_DONE: the resv is free, the fence has signalled
 */
enum p2pbuf_mock_hold_state {
	P2PBUF_MOCK_HOLD_STARTING,
	P2PBUF_MOCK_HOLD_HELD,
	P2PBUF_MOCK_HOLD_FENCED,
	P2PBUF_MOCK_HOLD_DONE,
};

/**
 * struct p2pbuf_mock_hold - hold the resv, in a kernel thread
 * @fd: in, any dma-buf
 * @mode: in, one of &enum p2pbuf_mock_hold_mode
 * @ms: in, for how long at most each step may take
 * @id: out
 */
struct p2pbuf_mock_hold {
	__s32 fd;
	__u32 mode;
	__u32 ms;
	__u32 id;
};

/**
 * struct p2pbuf_mock_hold_wait - wait for a hold; ETIME when it does not come
 * @id: in
 * @state: in, the state to wait for; out, the state
 * @ms: in
 * @result: out, when done: 0, or -ETIME when importers' fences did not signal
 *	in time
 */
struct p2pbuf_mock_hold_wait {
	__u32 id;
	__u32 state;
	__u32 ms;
	__s32 result;
};

/* ---- a plug's callback -------------------------------------------------------- */

/**
 * struct p2pbuf_mock_plug - let those go who sleep in a plug's callback
 * @open: in, 1: who sleeps goes on, and nobody sleeps any more; 0: sleep
 * @sleeping: out, how many slept before the call
 *
 * The callback is put into the submitter's plug by the io_uring command
 * P2PBUF_MOCK_URING_PLUG, which takes nothing and ends at once: with 0, or with
 * EBADF when its submission has no plug. One for all open files.
 */
struct p2pbuf_mock_plug {
	__u32 open;
	__u32 sleeping;
};

/* ---- importer ------------------------------------------------------------------ */

/**
 * enum p2pbuf_mock_kind - what kind of importer
 * @P2PBUF_MOCK_PINNED: not dynamic: the dma-buf is pinned by mapping it
 * @P2PBUF_MOCK_DEAF: dynamic, without an invalidate callback
 * @P2PBUF_MOCK_NOTIFIED: dynamic, with one
 * @P2PBUF_MOCK_CORE: through p2pbuf_core
 */
enum p2pbuf_mock_kind {
	P2PBUF_MOCK_PINNED,
	P2PBUF_MOCK_DEAF,
	P2PBUF_MOCK_NOTIFIED,
	P2PBUF_MOCK_CORE,
	P2PBUF_MOCK_KINDS,
};

/* Takes peer to peer addresses. CORE always does. */
#define P2PBUF_MOCK_P2P		(1U << 0)
/* NOTIFIED: unmaps only when told. */
#define P2PBUF_MOCK_LAZY	(1U << 1)

/**
 * struct p2pbuf_mock_import - attach to a dma-buf
 * @fd: in, any dma-buf
 * @kind: in, one of &enum p2pbuf_mock_kind
 * @device: in, PCI function with a driver, as domain << 16 | bus << 8 | devfn;
 *	0 for the mock's platform device
 * @flags: in, P2PBUF_MOCK_P2P, P2PBUF_MOCK_LAZY
 * @dma_bits: in, DMA mask for the device, which must then be the mock's own;
 *	0 for 64
 * @unmap_ms: in, NOTIFIED: delay of the unmap after an invalidation
 * @id: out
 * @pad: 0
 */
struct p2pbuf_mock_import {
	__s32 fd;
	__u32 kind;
	__u32 device;
	__u32 flags;
	__u32 dma_bits;
	__u32 unmap_ms;
	__u32 id;
	__u32 pad;
};

/**
 * enum p2pbuf_mock_context - where the active reference is dropped
 * @P2PBUF_MOCK_TASK: here and now
 * @P2PBUF_MOCK_HARDIRQ: in a timer interrupt
 */
enum p2pbuf_mock_context {
	P2PBUF_MOCK_TASK,
	P2PBUF_MOCK_HARDIRQ,
	P2PBUF_MOCK_CONTEXTS,
};

/**
 * struct p2pbuf_mock_put - drop the oldest active reference of GET
 * @id: in, a CORE importer
 * @context: in, one of &enum p2pbuf_mock_context
 * @us: in, HARDIRQ: after that many microseconds
 * @pad: 0
 */
struct p2pbuf_mock_put {
	__u32 id;
	__u32 context;
	__u32 us;
	__u32 pad;
};

/**
 * struct p2pbuf_mock_io - one 8-byte write by the imagined device
 * @id: in, a CORE importer of a mock dma-buf
 * @us: in, how long it takes
 * @offset: in, a multiple of 8
 * @value: in
 *
 * Takes an active reference, mapping first if needed, as an importer would;
 * the write happens in a timer interrupt, to where the buffer was when the
 * mapping was made, and the reference is dropped there.
 */
struct p2pbuf_mock_io {
	__u32 id;
	__u32 us;
	__u64 offset;
	__u64 value;
};

/**
 * struct p2pbuf_mock_fill - how the importer's fill() behaves
 * @id: in, a CORE importer
 * @err: in, errno to fail with, 0 not to
 * @times: in, how often; 0 for ever
 * @ms: in, how long it sleeps each time, and how long revoked() does
 */
struct p2pbuf_mock_fill {
	__u32 id;
	__u32 err;
	__u32 times;
	__u32 ms;
};

/**
 * struct p2pbuf_mock_import_info - what happened to an importer
 * @id: in
 * @mapped: out, it has a mapping that may be used
 * @invalidations: out, NOTIFIED: times it was told
 * @active: out, CORE: references held, I/O included
 * @io_done: out, I/O completed
 * @fills: out, calls of fill()
 * @fill_active: out, of which while I/O was active
 * @fill_bytes: out, sum of the segments the last fill() saw
 * @fill_segments: out, their number
 * @torn: out, I/O whose table changed while it was using it
 * @revoked: out, calls of revoked()
 * @revoked_active: out, of which while I/O was active
 * @late: out, times a device's driver went before revoked() of an importer on
 *	it was over; of all importers since the module was loaded
 * @pad: 0
 * @dead: out, the attachment is revoked
 * @locked: out, CORE: somebody holds the resv right now; what follows and
 *	fill_bytes, fill_segments are left out
 * @mappings: out, p2pbuf_attachment_stats
 * @core_invalidations: out, likewise
 * @inline_waits: out, likewise
 * @path: out, p2pbuf_attachment_path
 */
struct p2pbuf_mock_import_info {
	__u32 id;
	__u32 mapped;
	__u32 invalidations;
	__u32 active;
	__u64 io_done;
	__u32 fills;
	__u32 fill_active;
	__u64 fill_bytes;
	__u32 fill_segments;
	__u32 torn;
	__u32 revoked;
	__u32 revoked_active;
	__u32 late;
	__u32 pad;
	__u32 dead;
	__u32 locked;
	__u64 mappings;
	__u64 core_invalidations;
	__u64 inline_waits;
	struct p2pbuf_path_info path;
};

#define P2PBUF_MOCK_IOC(nr, type)	_IOWR('Q', nr, struct p2pbuf_mock_##type)

#define P2PBUF_MOCK_CREATE	P2PBUF_MOCK_IOC(0x80, create)
#define P2PBUF_MOCK_SET_SHAPE	P2PBUF_MOCK_IOC(0x81, set_shape)
#define P2PBUF_MOCK_RULE	P2PBUF_MOCK_IOC(0x82, rule)
/* Takes the fd itself; wakes up what stalls. */
#define P2PBUF_MOCK_CLEAR_RULES	_IO('Q', 0x83)
#define P2PBUF_MOCK_MOVE	P2PBUF_MOCK_IOC(0x84, move)
#define P2PBUF_MOCK_REVOKE	P2PBUF_MOCK_IOC(0x85, move)
#define P2PBUF_MOCK_BUFFER_INFO	P2PBUF_MOCK_IOC(0x86, buffer_info)
#define P2PBUF_MOCK_DATA	P2PBUF_MOCK_IOC(0x87, data)

#define P2PBUF_MOCK_FENCE_ADD	P2PBUF_MOCK_IOC(0x88, fence)
#define P2PBUF_MOCK_HOLD	P2PBUF_MOCK_IOC(0x89, hold)
#define P2PBUF_MOCK_HOLD_WAIT_FOR P2PBUF_MOCK_IOC(0x8a, hold_wait)

#define P2PBUF_MOCK_IMPORT	P2PBUF_MOCK_IOC(0x8b, import)
#define P2PBUF_MOCK_PUT		P2PBUF_MOCK_IOC(0x8c, put)
#define P2PBUF_MOCK_IO		P2PBUF_MOCK_IOC(0x8d, io)
#define P2PBUF_MOCK_FILL	P2PBUF_MOCK_IOC(0x8e, fill)
#define P2PBUF_MOCK_IMPORT_INFO	P2PBUF_MOCK_IOC(0x8f, import_info)

/* These take the id itself. */
#define P2PBUF_MOCK_SIGNAL	_IO('Q', 0x90)	/* a fence */
#define P2PBUF_MOCK_RELEASE	_IO('Q', 0x91)	/* a hold */
#define P2PBUF_MOCK_CLOSE	_IO('Q', 0x92)	/* anything */
#define P2PBUF_MOCK_MAP		_IO('Q', 0x93)	/* an importer */
#define P2PBUF_MOCK_UNMAP	_IO('Q', 0x94)	/* not CORE */
#define P2PBUF_MOCK_PIN		_IO('Q', 0x95)	/* not CORE */
#define P2PBUF_MOCK_UNPIN	_IO('Q', 0x96)	/* not CORE */
#define P2PBUF_MOCK_REMAP	_IO('Q', 0x97)	/* CORE */
#define P2PBUF_MOCK_DETACH	_IO('Q', 0x98)	/* CORE: revoke */
#define P2PBUF_MOCK_GET		_IO('Q', 0x99)	/* CORE: an active reference */

#define P2PBUF_MOCK_PLUG	P2PBUF_MOCK_IOC(0x9a, plug)
#define P2PBUF_MOCK_URING_PLUG	_IO('Q', 0x9b)

#endif /* P2PBUF_MOCK_H */
