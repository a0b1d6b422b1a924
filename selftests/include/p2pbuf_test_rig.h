/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What nearly every NVMe test needs: a drive, a buffer, a ring and a binding,
 * or the reason why this machine does not have them.
 */
#ifndef P2PBUF_TEST_RIG_H
#define P2PBUF_TEST_RIG_H

#include "kselftest_harness.h"
#include "p2pbuf_test_nvme.h"

/* ---- which machine is this? ------------------------------------------------ */

/* Does a strict binding of VRAM get this path here ("refused": none)? */
static inline bool ptn_expect(const char *path)
{
	const char *expect = getenv("P2PBUF_EXPECT_PATH");

	return expect && !strcmp(expect, path);
}

static inline bool ptn_topology(const char *name)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");

	return topology && !strcmp(topology, name);
}

/*
 * Was the binding refused because this machine is as it is? Then the reason,
 * for a skip; else NULL. nvme_uapi.c tests that they are refused.
 */
static inline const char *ptn_unreachable(enum ptn_kind kind, __u32 flags,
					  int err)
{
	bool vram = kind == PTN_VRAM || kind == PTN_WINDOW;

	if (ptn_topology("swiotlb") && !vram &&
	    (err == -EADDRNOTAVAIL || err == -EIO))
		return "host memory needs bounce buffers here";
	if (ptn_expect("refused") && vram && (!flags || err == -EFAULT))
		return "the drive cannot reach VRAM here";
	return NULL;
}

/* ---- all of it together ---------------------------------------------------- */

/**
 * struct ptn_rig - a disk, a buffer, and a binding between them
 * @disk: the disk
 * @buffer: the buffer
 * @ring: a ring
 * @bind: what BIND told
 * @node: the open node
 * @id: the binding
 * @scratch: host memory, PTN_SCRATCH bytes
 */
struct ptn_rig {
	struct ptn_disk disk;
	struct ptn_buffer buffer;
	struct io_uring ring;
	struct p2pbuf_nvme_bind bind;
	int node;
	int id;
	char *scratch;
};

#define PTN_SCRATCH	(17 * PTN_MIB)

/**
 * struct ptn_wish - what a test needs
 * @role: serial number of the drive, "main" when NULL
 * @kind: of buffer
 * @size: of it
 * @bind_flags: P2PBUF_NVME_BIND_*
 * @ring_flags: IORING_SETUP_*
 * @entries: of the ring, 64 when 0
 * @no_bind: leave the binding to the test
 */
struct ptn_wish {
	const char *role;
	enum ptn_kind kind;
	__u64 size;
	__u32 bind_flags;
	__u32 ring_flags;
	__u32 entries;
	bool no_bind;
};

static inline void ptn_rig_close(struct ptn_rig *rig)
{
	if (rig->ring.ring_fd > 0)
		io_uring_queue_exit(&rig->ring);
	if (rig->node >= 0)
		close(rig->node);
	ptn_buffer_free(&rig->buffer);
	ptn_disk_close(&rig->disk);
	if (rig->scratch)
		munmap(rig->scratch, PTN_SCRATCH);
}

/*
 * Returns 0 or -errno with @why set to what failed; and NULL in @skip, or why
 * this machine cannot do it.
 */
static inline int ptn_rig_try(struct ptn_rig *rig, const struct ptn_wish *wish,
			      const char **skip, const char **why)
{
	int ret;

	*why = "node";
	ret = ptn_open();
	rig->node = ret;
	if (ret == -ENOENT)
		*skip = "no " PTN_NODE;
	if (ret < 0)
		return ret;
	*why = "disk";
	ret = ptn_disk_open(wish->role ? wish->role : "main", &rig->disk);
	if (ret == -ENODEV)
		*skip = "no drive of that serial number";
	if (ret)
		return ret;
	*why = "buffer";
	ret = ptn_buffer_alloc(&rig->buffer, wish->kind, wish->size);
	if (ret == -ENODEV || ret == -ENOENT)
		*skip = "no such exporter";
	if (ret)
		return ret;
	*why = "ring";
	ret = io_uring_queue_init(wish->entries ? wish->entries : 64,
				  &rig->ring, wish->ring_flags);
	if (ret)
		return ret;
	*why = "memory";
	rig->scratch = ptn_memory(PTN_SCRATCH);
	if (!rig->scratch)
		return -ENOMEM;
	if (wish->no_bind)
		return 0;
	*why = "bind";
	rig->id = ptn_bind_range(rig->node, rig->buffer.dmabuf, rig->disk.fd,
				 0, 0, wish->bind_flags, &rig->bind);
	if (rig->id > 0)
		return 0;
	*skip = ptn_unreachable(wish->kind, wish->bind_flags, rig->id);
	return rig->id;
}

/*
 * In a fixture's setup or a test: open, or skip, or fail. The last two do not
 * return; what was opened goes with the test's process.
 */
static inline void ptn_rig_need(struct __test_metadata *_metadata,
				struct ptn_rig *rig,
				const struct ptn_wish *wish)
{
	const char *skip = NULL, *why;
	int ret;

	memset(rig, 0, sizeof(*rig));
	rig->disk.fd = -1;
	rig->disk.direct = -1;
	rig->buffer.node = -1;
	rig->buffer.dmabuf = -1;
	ret = ptn_rig_try(rig, wish, &skip, &why);
	if (skip)
		SKIP(_exit(KSFT_SKIP), "%s", skip);
	ASSERT_EQ(0, ret)
		TH_LOG("%s: %s", why, strerror(-ret));
}

#define PTN_RIG_OPEN(_rig, ...)						\
	ptn_rig_need(_metadata, _rig, &(struct ptn_wish){ __VA_ARGS__ })

#endif /* P2PBUF_TEST_RIG_H */
