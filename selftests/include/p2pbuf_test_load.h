/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Load: many checked commands in flight between a disk and a buffer.
 *
 * A slot is a piece of the buffer with one command on it at a time. Half of
 * the slots' commands read a place of the read area, where the disk has the
 * pattern PTN_LOAD_SEED, into poison; the others write a fresh pattern to the
 * slot's own place in the write area, poison the slot, and read it back. All
 * bytes are looked at each time. A slot whose command failed is left alone
 * from then on, with its poison checked where nothing may have been
 * transferred.
 */
#ifndef P2PBUF_TEST_LOAD_H
#define P2PBUF_TEST_LOAD_H

#include "p2pbuf_test_rig.h"

#define PTN_LOAD_SEED	0x10adULL
#define PTN_LOAD_DEPTH	128

/* Where on the disk, unless a test says otherwise. */
#define PTN_READ_AREA	(8 * PTN_MIB)
#define PTN_READ_SIZE	(16 * PTN_MIB)
#define PTN_WRITE_AREA	(64 * PTN_MIB)

enum ptn_slot_state {
	PTN_SLOT_READ,		/* reading the read area */
	PTN_SLOT_WRITE,		/* writing a fresh pattern */
	PTN_SLOT_BACK,		/* reading it back */
};

struct ptn_slot {
	enum ptn_slot_state state;
	__u64 buf;
	__u64 dev;
	__u64 seed;
};

/**
 * struct ptn_load - what to do, and how it went
 * @ring: to submit on
 * @node: fd, or index of a fixed file
 * @sqe_flags: IOSQE_*
 * @id: binding
 * @map: the CPU's view of the binding's first byte
 * @base: where in the binding the slots begin
 * @depth: commands in flight, at most PTN_LOAD_DEPTH
 * @len: bytes of each
 * @read_area: pattern on the disk begins here; multiple of the block
 * @read_size: and is that long
 * @write_area: @depth times @len bytes that may be overwritten
 * @target: commands to do
 * @stop: if set, an earlier end, seen between commands
 * @tolerate: an -errno that does not end a slot; counted in @failed
 * @random: state of the pseudo-random numbers, not 0
 * @done: out, commands that succeeded
 * @failed: out, commands that failed
 * @error: out, the first failure, -errno
 * @wrong: out, slots with a wrong byte
 * @slot: the slots
 */
struct ptn_load {
	struct io_uring *ring;
	int node;
	__u32 sqe_flags;
	__u32 id;
	char *map;
	__u64 base;
	unsigned int depth;
	__u32 len;
	__u64 read_area;
	__u64 read_size;
	__u64 write_area;
	unsigned long target;
	const volatile int *stop;
	int tolerate;
	__u64 random;

	unsigned long done;
	unsigned long failed;
	int error;
	unsigned long wrong;
	struct ptn_slot slot[PTN_LOAD_DEPTH];
};

static inline __u64 ptn_random(__u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/*
 * The load of a rig, with the areas' defaults. The read area is filled, once
 * in a process.
 */
static inline int ptn_load_init(struct ptn_load *load, struct ptn_rig *rig,
				unsigned int depth, __u32 len,
				unsigned long target)
{
	static char filled[NAME_MAX + 1];

	memset(load, 0, sizeof(*load));
	load->ring = &rig->ring;
	load->node = rig->node;
	load->id = rig->id;
	load->map = rig->buffer.map;
	load->depth = depth;
	load->len = len;
	load->target = target;
	load->read_area = PTN_READ_AREA;
	load->read_size = PTN_READ_SIZE;
	load->write_area = PTN_WRITE_AREA;
	load->random = 0x9e3779b97f4a7c15ULL ^ depth ^ (__u64)len << 32 ^
		       ptk_seed() << 16;
	if (!strcmp(filled, rig->disk.name))
		return 0;
	memcpy(filled, rig->disk.name, sizeof(filled));
	return ptn_disk_fill(&rig->disk, load->read_area, load->read_size,
			     PTN_LOAD_SEED, rig->scratch, PTN_SCRATCH);
}

static inline bool ptn_load_over(const struct ptn_load *load)
{
	return load->done + load->failed >= load->target ||
	       (load->stop && *load->stop);
}

static inline void ptn_load_submit(struct ptn_load *load, unsigned int i)
{
	struct ptn_slot *slot = &load->slot[i];
	struct io_uring_sqe *sqe = ptn_sqe(load->ring);
	struct ptn_io io = {
		.op = slot->state == PTN_SLOT_WRITE ? PTN_WRITE : PTN_READ,
		.id = load->id,
		.buf = slot->buf,
		.dev = slot->dev,
		.len = load->len,
	};

	ptn_prep(sqe, load->node, &io);
	sqe->flags |= load->sqe_flags;
	sqe->user_data = i;
}

/* Give a slot something new to do. */
static inline void ptn_load_start(struct ptn_load *load, unsigned int i)
{
	struct ptn_slot *slot = &load->slot[i];
	__u64 blocks = (load->read_size - load->len) / 512;

	slot->buf = load->base + (__u64)i * load->len;
	if (ptn_random(&load->random) & 1) {
		slot->state = PTN_SLOT_READ;
		slot->seed = PTN_LOAD_SEED;
		slot->dev = load->read_area +
			    ptn_random(&load->random) % (blocks + 1) * 512;
		ptn_poison(load->map + slot->buf, load->len);
	} else {
		slot->state = PTN_SLOT_WRITE;
		slot->seed = ptn_random(&load->random);
		slot->dev = load->write_area + (__u64)i * load->len;
		ptn_fill(load->map + slot->buf, load->len, slot->seed,
			 slot->dev);
	}
	ptn_load_submit(load, i);
}

static inline void ptn_load_wrong(struct ptn_load *load, unsigned int i,
				  __u64 at)
{
	struct ptn_slot *slot = &load->slot[i];

	load->wrong++;
	fprintf(stderr,
		"# slot %u: %s, disk offset %llu, length %u: wrong at %llu: %016llx\n",
		i, slot->state == PTN_SLOT_READ ? "read" : "read back",
		slot->dev, load->len, at,
		*(__u64 *)(load->map + slot->buf + at));
}

/* A command ended. Returns whether the slot has another one in flight. */
static inline bool ptn_load_end(struct ptn_load *load, unsigned int i, int res)
{
	struct ptn_slot *slot = &load->slot[i];
	char *p = load->map + slot->buf;
	__u64 at;

	if (res != (int)load->len) {
		load->failed++;
		if (load->tolerate && res == load->tolerate &&
		    !ptn_load_over(load)) {
			ptn_load_start(load, i);
			return true;
		}
		if (!load->error)
			load->error = res < 0 ? res : -EXFULL;
		return false;
	}
	load->done++;
	if (slot->state == PTN_SLOT_WRITE) {
		ptn_poison(p, load->len);
		slot->state = PTN_SLOT_BACK;
		ptn_load_submit(load, i);
		return true;
	}
	at = ptn_check(p, load->len, slot->seed, slot->dev);
	if (at != load->len)
		ptn_load_wrong(load, i, at);
	if (ptn_load_over(load))
		return false;
	ptn_load_start(load, i);
	return true;
}

/*
 * Run it. Returns 0, or the ring's -errno; how the commands went is in the
 * out fields.
 */
static inline int ptn_load_run(struct ptn_load *load)
{
	unsigned int i, busy = 0, head, seen;
	struct io_uring_cqe *cqe;
	int ret;

	for (i = 0; i < load->depth; i++, busy++)
		ptn_load_start(load, i);
	while (busy) {
		ret = io_uring_submit_and_wait(load->ring, 1);
		if (ret < 0 && ret != -EINTR)
			return ret;
		seen = 0;
		io_uring_for_each_cqe(load->ring, head, cqe) {
			seen++;
			if (!ptn_load_end(load, cqe->user_data, cqe->res))
				busy--;
		}
		io_uring_cq_advance(load->ring, seen);
	}
	return 0;
}

/* The same as a thread; it returns NULL unless the ring failed. */
static inline void *ptn_load_thread(void *load)
{
	return (void *)(long)ptn_load_run(load);
}

/* In a test: run, and nothing may go wrong. */
#define PTN_LOAD_GOOD(_load)						\
	do {								\
		EXPECT_EQ(0, ptn_load_run(_load));			\
		EXPECT_EQ(0, (_load)->failed)				\
			TH_LOG("first: %s", strerror(-(_load)->error));	\
		EXPECT_EQ(0, (_load)->wrong);				\
		EXPECT_LE((_load)->stop ? 1 : (_load)->target,		\
			  (_load)->done);				\
	} while (0)

#endif /* P2PBUF_TEST_LOAD_H */
