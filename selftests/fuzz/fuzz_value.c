// SPDX-License-Identifier: GPL-2.0
/* Numbers and structs that are nearly right. */
#include "fuzz.h"

/* splitmix64 */
__u64 fz_next(struct fz_rng *rng)
{
	__u64 z = rng->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

__u64 fz_below(struct fz_rng *rng, __u64 n)
{
	return n ? fz_next(rng) % n : 0;
}

bool fz_once_in(struct fz_rng *rng, unsigned int n)
{
	return !fz_below(rng, n);
}

__u64 fz_seed(__u64 seed, __u64 process, __u64 gen)
{
	struct fz_rng rng = { .state = seed };

	rng.state = fz_next(&rng) ^ process * 0x100000001b3ULL;
	rng.state = fz_next(&rng) ^ gen * 0xc2b2ae3d27d4eb4fULL;
	return fz_next(&rng);
}

__u64 fz_edge(struct fz_rng *rng)
{
	static const __u64 edges[] = {
		0, 1, 2, 3, 4, 7, 8, 255, 256, 511, 512, 513, 4095, 4096, 4097,
		8192, 65535, 65536, 1 << 20, (1 << 20) + 4096, 16 << 20,
		0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff, 1ULL << 32,
		(1ULL << 32) + 4096, 1ULL << 44, 1ULL << 52, 1ULL << 62,
		0x7fffffffffffffffULL, 1ULL << 63, 0xfffffffffffff000ULL,
		0xffffffffffffffffULL,
	};
	__u64 v = edges[fz_below(rng, FZ_ARRAY(edges))];

	switch (fz_below(rng, 6)) {
	case 0:
		return v + fz_below(rng, 3) - 1;
	case 1:
		return 1ULL << fz_below(rng, 64);
	case 2:
		return fz_next(rng);
	case 3:
		return -v;
	}
	return v;
}

__u64 fz_size(struct fz_rng *rng)
{
	__u64 pages = 1 + fz_below(rng, 16);

	if (fz_once_in(rng, 8))
		pages = 1 + fz_below(rng, 256);
	if (fz_once_in(rng, 256))
		pages = 1 + fz_below(rng, 8192);
	return pages * PTN_PAGE;
}

static void mutate_one(struct fz_rng *rng, void *p, const struct fz_field *f)
{
	__u64 v = 0;

	memcpy(&v, (char *)p + f->offset, f->size);
	switch (fz_below(rng, 4)) {
	case 0:
		v ^= 1ULL << fz_below(rng, f->size * 8);
		break;
	case 1:
		v += fz_below(rng, 9) - 4;
		break;
	default:
		v = fz_edge(rng);
	}
	memcpy((char *)p + f->offset, &v, f->size);
}

void fz_mutate(struct fz_rng *rng, void *p, const struct fz_field *fields,
	       unsigned int n)
{
	unsigned int i;

	switch (fz_below(rng, 8)) {
	case 0:
		for (i = 0; i < n; i++)
			if (fz_once_in(rng, 2))
				mutate_one(rng, p, &fields[i]);
		break;
	case 1:
	case 2:
	case 3:
		mutate_one(rng, p, &fields[fz_below(rng, n)]);
		break;
	}
}

void *fz_place(struct fz_worker *w, const void *bytes, size_t size)
{
	char *p = w->arena;

	switch (fz_below(&w->rng, 16)) {
	case 0:		/* the last byte is the last there is */
		p = w->arena + FZ_ARENA - size;
		break;
	case 1:		/* one byte too few */
		p = w->arena + FZ_ARENA - size + 1 + fz_below(&w->rng, size);
		size = w->arena + FZ_ARENA - p;
		break;
	case 2:
		p = w->racy;
		break;
	case 3:
		if (fz_once_in(&w->rng, 4))
			return (void *)(uintptr_t)fz_edge(&w->rng);
		break;
	}
	memcpy(p, bytes, size);
	if (p == w->racy)
		sem_post(&w->race);
	return p;
}

__u32 fz_unknown_bit(struct fz_rng *rng, __u32 known)
{
	__u32 bit;

	do {
		bit = 1U << fz_below(rng, 32);
	} while (bit & known);
	return bit;
}

__u32 fz_wrong_placement(struct fz_rng *rng)
{
	return fz_once_in(rng, 4) ? 3 * fz_below(rng, 2) :
				    fz_unknown_bit(rng, 3);
}

__u64 fz_misaligned(struct fz_rng *rng, unsigned int pages)
{
	__u64 whole = fz_below(rng, pages) * PTN_PAGE;

	return whole + 1 + fz_below(rng, PTN_PAGE - 1);
}

int fz_junk_fd(struct fz_worker *w)
{
	switch (fz_below(&w->rng, 8)) {
	case 0:
		return -1;
	case 1:
		return (int)fz_edge(&w->rng) | 0x40000000;
	case 2:
		return w->node[fz_below(&w->rng, FZ_NODES)];
	case 3:
		return w->drm[fz_below(&w->rng, FZ_DRMS)];
	}
	return w->junk[fz_below(&w->rng, FZ_JUNK)];
}

static int any_buf(struct fz_worker *w, unsigned int places)
{
	int fd;

	if (fz_once_in(&w->rng, 16))
		return fz_junk_fd(w);
	if (fz_once_in(&w->rng, 64))
		return w->disk[fz_below(&w->rng, w->disks)];
	fd = w->buf[fz_below(&w->rng, places)];
	/* an empty place: what all have */
	return fd >= 0 ? fd : fz_common[fz_below(&w->rng, FZ_COMMON)];
}

int fz_any_buf(struct fz_worker *w)
{
	return any_buf(w, FZ_BUFS);
}

/* Documentation/kernel-bugs.rst: what a udmabuf tells dma-debug is not true. */
int fz_any_cpu_buf(struct fz_worker *w)
{
	return any_buf(w, FZ_UDMABUFS);
}

void fz_keep_buf(struct fz_worker *w, int fd, bool udmabuf)
{
	unsigned int from = udmabuf ? FZ_UDMABUFS : FZ_COMMON;
	unsigned int to = udmabuf ? FZ_BUFS : FZ_UDMABUFS;
	unsigned int slot = from + fz_below(&w->rng, to - from);

	if (w->buf[slot] >= 0)
		close(w->buf[slot]);
	w->buf[slot] = fd;
}

int fz_any_disk(struct fz_worker *w)
{
	if (fz_once_in(&w->rng, 16))
		return fz_junk_fd(w);
	/* the first one is the one that is not unbound */
	if (fz_once_in(&w->rng, 2))
		return w->disk[0];
	return w->disk[fz_below(&w->rng, w->disks)];
}

__u32 fz_any_id(struct fz_worker *w, unsigned int node)
{
	unsigned int at = fz_below(&w->rng, FZ_IDS), i;

	for (i = 0; i < FZ_IDS && !w->id[node][(at + i) % FZ_IDS]; i++)
		;
	return w->id[node][(at + i) % FZ_IDS];
}

struct fz_bo *fz_any_bo(struct fz_worker *w)
{
	unsigned int at = fz_below(&w->rng, FZ_BOS), i;

	for (i = 0; i < FZ_BOS && !w->bo[(at + i) % FZ_BOS].handle; i++)
		;
	return &w->bo[(at + i) % FZ_BOS];
}

/*
 * Place the argument of an ioctl that begins with its size: that is right, or
 * it is not, and so is the number of the @request. What another number may
 * answer is in no table.
 */
void *fz_argument(struct fz_worker *w, const void *arg, size_t size,
		  unsigned long *request, const int **allowed)
{
	char bytes[512] = { 0 };
	size_t placed = size;
	__u32 told;

	memcpy(bytes, arg, size);
	if (fz_once_in(&w->rng, 16)) {
		told = fz_once_in(&w->rng, 2) ? fz_edge(&w->rng) :
		       size + fz_below(&w->rng, 64) - 16;
		memcpy(bytes, &told, sizeof(told));
		placed = sizeof(bytes);
		if (fz_once_in(&w->rng, 2))
			bytes[fz_below(&w->rng, sizeof(bytes))]++;
	}
	if (fz_once_in(&w->rng, 64)) {
		*request ^= 1UL << fz_below(&w->rng, 32);
		*allowed = NULL;
	}
	return fz_place(w, bytes, placed);
}
