// SPDX-License-Identifier: GPL-2.0
/*
 * What no call may ever change.
 *
 * A guarded buffer has a binding in its middle and a pattern on both sides of
 * it. Its descriptor is closed and nobody else has its handle, so that the
 * only way to its bytes is the binding. The guarded disk is opened for reading
 * only, after a pattern was written to where commands go.
 */
#include "fuzz.h"

#define GUARD_SIZE	(64 * PTN_KIB)
#define GUARD_EDGE	(16 * PTN_KIB)
#define DISK_BYTES	(8 * PTN_MIB)
#define DISK_SEED	0x6a09e667
#define GUARD_DISK	"second"

int fz_guard_disk_fill(void)
{
	void *bounce = ptn_memory(PTN_MIB);
	struct ptn_disk disk;
	int ret;

	if (!bounce)
		return -ENOMEM;
	ret = ptn_disk_open(GUARD_DISK, &disk);
	if (!ret) {
		ret = ptn_disk_fill(&disk, 0, DISK_BYTES, DISK_SEED, bounce,
				    PTN_MIB);
		ptn_disk_close(&disk);
	}
	munmap(bounce, PTN_MIB);
	return ret;
}

void fz_guard_disk_check(void)
{
	void *bounce = ptn_memory(PTN_MIB);
	struct ptn_disk disk;
	__u64 at, good;

	if (!bounce || ptn_disk_open(GUARD_DISK, &disk))
		return;
	for (at = 0; at < DISK_BYTES; at += PTN_MIB) {
		if (ptn_disk_read(&disk, bounce, PTN_MIB, at)) {
			fz_broken("the guarded disk cannot be read");
			break;
		}
		good = ptn_check(bounce, PTN_MIB, DISK_SEED, at);
		if (good != PTN_MIB)
			fz_broken("the disk that is open for reading changed at %llu",
				  (unsigned long long)(at + good));
	}
	ptn_disk_close(&disk);
	munmap(bounce, PTN_MIB);
}

static void guard_edges(struct fz_guard *g, bool check)
{
	static const __u64 starts[] = { 0, GUARD_SIZE - GUARD_EDGE };
	unsigned int i;
	__u64 good;

	for (i = 0; i < FZ_ARRAY(starts); i++) {
		char *p = (char *)g->buffer.map + starts[i];

		if (!check) {
			ptn_fill(p, GUARD_EDGE, DISK_SEED, starts[i]);
			continue;
		}
		good = ptn_check(p, GUARD_EDGE, DISK_SEED, starts[i]);
		if (good != GUARD_EDGE)
			fz_broken("byte %llu of a buffer changed, beside the binding %d",
				  (unsigned long long)(starts[i] + good),
				  g->id);
	}
}

/*
 * No descriptor of it stays: a struct that changes while the kernel reads it
 * may name any descriptor of the process.
 */
static void guard_make(struct fz_worker *w, struct fz_guard *g,
		       enum ptn_kind kind)
{
	if (g->made) {
		guard_edges(g, true);
		ptn_buffer_free(&g->buffer);
	}
	g->made = false;
	if (ptn_buffer_alloc(&g->buffer, kind, GUARD_SIZE))
		return;
	guard_edges(g, false);
	g->id = ptn_bind_range(w->node[0], g->buffer.dmabuf, w->disk[0],
			       GUARD_EDGE, GUARD_SIZE - 2 * GUARD_EDGE,
			       P2PBUF_NVME_BIND_ALLOW_SYSTEM, NULL);
	close(g->buffer.dmabuf);
	g->buffer.dmabuf = -1;
	g->made = true;
}

void fz_guard_make(struct fz_worker *w)
{
	guard_make(w, &w->guard[0], PTN_UDMABUF);
	guard_make(w, &w->guard[1], PTN_VRAM);
}

void fz_guard_check(struct fz_worker *w)
{
	unsigned int i;

	for (i = 0; i < FZ_ARRAY(w->guard); i++)
		if (w->guard[i].made)
			guard_edges(&w->guard[i], true);
}
