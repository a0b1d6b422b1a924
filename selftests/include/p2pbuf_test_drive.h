/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An NVMe drive behind its block device, for tests that take it away, and what
 * the core tells of its attachments in debugfs.
 */
#ifndef P2PBUF_TEST_DRIVE_H
#define P2PBUF_TEST_DRIVE_H

#include "p2pbuf_test_load.h"

#define PTD_ATTACHMENTS	"/sys/kernel/debug/p2pbuf/attachments"

/**
 * struct ptd_drive - names of a drive
 * @pci: its function
 * @controller: as in /dev, with its number
 */
struct ptd_drive {
	char pci[32];
	char controller[32];
};

/* 0 or -errno. */
static inline int ptd_find(const struct ptn_disk *disk, struct ptd_drive *d)
{
	char path[PATH_MAX], link[PATH_MAX];
	ssize_t n;
	int ret;

	snprintf(path, sizeof(path), "/sys/block/%s/device/address",
		 disk->name);
	ret = ptn_read_text(path, d->pci, sizeof(d->pci));
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/sys/block/%s/device", disk->name);
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0)
		return -errno;
	link[n] = 0;
	snprintf(d->controller, sizeof(d->controller), "%.31s",
		 strrchr(link, '/') + 1);
	return 0;
}

/* Attachments that exist, of all importers; 0 without debugfs. */
static inline int ptd_attachments(void)
{
	int n = ptk_lines(PTD_ATTACHMENTS);

	return n < 0 ? 0 : n;
}

/* A new binding of @disk and of what is in the rig works, both ways. */
static inline void ptd_works(struct __test_metadata *_metadata,
			     struct ptn_rig *rig, struct ptn_load *load,
			     struct ptn_disk *disk)
{
	int id = ptn_bind(rig->node, rig->buffer.dmabuf, disk->fd, 0);

	ASSERT_LT(0, id)
		TH_LOG("bind: %s", strerror(-id));
	ASSERT_EQ(0, ptn_disk_fill(disk, PTN_READ_AREA, PTN_READ_SIZE,
				   PTN_LOAD_SEED, rig->scratch, PTN_SCRATCH));
	ASSERT_EQ(0, ptn_load_init(load, rig, 24, 65536, 100));
	load->id = id;
	PTN_LOAD_GOOD(load);
	EXPECT_EQ(0, ptn_unbind(rig->node, id));
}

#endif /* P2PBUF_TEST_DRIVE_H */
