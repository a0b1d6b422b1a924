/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files and volumes on the NVMe drives of the guest, and a paged exporter.
 *
 * The main drive is cut into partitions that only the kernel knows (BLKPG): one
 * each for ext4 and XFS, a leg of an md RAID-0 and one of a dm-linear volume,
 * whose other legs are on the second drive where there is one. The tools that
 * make all this come from the build root (/ci/toolbox). A loop device over a
 * file in memory stands for a disk that cannot do peer to peer.
 *
 * ptf_stage_make() makes it once for a whole program, before the harness
 * forks; ptf_stage_unmake() takes it down again. What could not be made is
 * missing, with its reason.
 */
#ifndef P2PBUF_TEST_FILE_H
#define P2PBUF_TEST_FILE_H

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <liburing.h>
#include <linux/blkpg.h>
#include <linux/fs.h>

#include <p2pbuf.h>

#include "p2pbuf_test_region.h"
#include "p2pbuf_test_run.h"

#define PTF_MIB		(1024ull * 1024)
#define PTF_MDADM	"/ci/toolbox mdadm --create /dev/md20 --level=0 " \
			"--raid-devices=2 --metadata=1.2 --chunk=64 --run"
#define PTF_DMSETUP	"/ci/toolbox dmsetup --noudevsync --noudevrules"
#define PTF_TABLE	"0 81920 linear %%sp24 0\\n81920 81920 linear %%sp22 0\\n"

enum ptf_place {
	PTF_EXT4,
	PTF_XFS,
	PTF_RAID0,
	PTF_LINEAR,
	PTF_LOOP,
	PTF_PLACES,
};

#define PTF_EVERYWHERE	((1u << PTF_PLACES) - 1)

/* Where the parts of the drives are; MiB. */
static const struct ptf_part {
	bool second;
	int number;
	unsigned int start;
	unsigned int size;
} ptf_parts[] = {
	{ false, 21, 1, 112 },		/* ext4 */
	{ false, 22, 113, 304 },	/* XFS takes no less */
	{ false, 23, 417, 40 },		/* RAID-0, and half of it */
	{ false, 24, 457, 40 },		/* dm-linear, likewise */
	{ true, 21, 1, 40 },
	{ true, 22, 41, 40 },
};

struct ptf_stage {
	/* Of a filesystem a mount point, else the block device; "": missing. */
	char at[PTF_PLACES][64];
	char missing[PTF_PLACES][128];
	struct ptr_region region;
	bool is_paged;
};

static inline int ptf_partition(const char *disk, int op,
				const struct ptf_part *part)
{
	struct blkpg_partition range = {
		.start = part->start * PTF_MIB,
		.length = part->size * PTF_MIB,
		.pno = part->number,
	};
	struct blkpg_ioctl_arg arg = {
		.op = op,
		.datalen = sizeof(range),
		.data = &range,
	};
	int fd, ret;

	if (!disk)
		return -ENODEV;
	fd = open(disk, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ioctl(fd, BLKPG, &arg) ? -errno : 0;
	close(fd);
	return ret;
}

static inline void ptf_partitions(int op)
{
	const char *main = getenv("P2PBUF_NVME_MAIN");
	const char *second = getenv("P2PBUF_NVME_SECOND");
	size_t i;

	for (i = 0; i < sizeof(ptf_parts) / sizeof(ptf_parts[0]); i++) {
		const char *disk = ptf_parts[i].second ? second : main;

		if (disk)
			ptf_partition(disk, op, &ptf_parts[i]);
	}
}

static inline void ptf_filesystem(struct ptf_stage *stage, enum ptf_place place,
				  const char *kind, const char *mkfs,
				  const char *disk)
{
	char at[64];

	snprintf(at, sizeof(at), "/mnt/%s", kind);
	mkdir(at, 0755);
	if (ptk_run("/ci/toolbox %s %s >/tmp/mkfs.log 2>&1", mkfs, disk))
		snprintf(stage->missing[place], sizeof(stage->missing[place]),
			 "cannot make %.16s", kind);
	else if (ptk_run("modprobe %s && mount -t %s %s %s", kind, kind, disk,
			 at))
		snprintf(stage->missing[place], sizeof(stage->missing[place]),
			 "cannot mount %.16s", kind);
	else
		strcpy(stage->at[place], at);
}

static inline void ptf_raid(struct ptf_stage *stage, const char *main,
			    const char *second)
{
	/* Without the second drive two legs of the first have to do. */
	if (ptk_run("modprobe raid0 && echo y | " PTF_MDADM " %sp23 %sp%d >/tmp/mdadm.log 2>&1",
		    main, second ? second : main, second ? 21 : 24))
		strcpy(stage->missing[PTF_RAID0], "cannot make a RAID-0");
	else
		strcpy(stage->at[PTF_RAID0], "/dev/md20");
}

/* Without udev a volume's node is the kernel's own, /dev/dm-N. */
static inline void ptf_find_volume(char *node, const char *name)
{
	char path[64], text[32];
	unsigned int i;
	FILE *f;

	for (i = 0; i < 16 && !node[0]; i++) {
		snprintf(path, sizeof(path), "/sys/block/dm-%u/dm/name", i);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f) &&
		    !strncmp(text, name, strlen(name)))
			sprintf(node, "/dev/dm-%u", i);
		fclose(f);
	}
}

static inline void ptf_linear(struct ptf_stage *stage, const char *main,
			      const char *second)
{
	if (!second)
		strcpy(stage->missing[PTF_LINEAR], "no second drive");
	else if (ptk_run("modprobe dm-mod && printf '" PTF_TABLE "' %s %s | "
			 PTF_DMSETUP " create linear >/tmp/dmsetup.log 2>&1",
			 main, second))
		strcpy(stage->missing[PTF_LINEAR], "cannot make a volume");
	else
		ptf_find_volume(stage->at[PTF_LINEAR], "linear");
}

static inline void ptf_loop(struct ptf_stage *stage)
{
	mkdir("/mnt/loop", 0755);
	if (ptk_run("modprobe loop && truncate -s 96M /tmp/loop.img") ||
	    ptk_run("losetup /dev/loop7 /tmp/loop.img") ||
	    ptk_run("/ci/toolbox mkfs.ext4 -q -b 4096 /dev/loop7 >/tmp/loop.log 2>&1") ||
	    ptk_run("mount -t ext4 /dev/loop7 /mnt/loop")) {
		strcpy(stage->missing[PTF_LOOP], "cannot make a loop device");
		ptk_run("losetup -d /dev/loop7 2>/dev/null; rm -f /tmp/loop.img");
	} else {
		strcpy(stage->at[PTF_LOOP], "/mnt/loop");
	}
}

/* The first region, as a paged one. */
static inline void ptf_exporter(struct ptf_stage *stage)
{
	struct drm_p2pbuf_device_info info;
	int fd;

	if (ptr_find(0, &stage->region) || ptr_param("paged", "1"))
		return;
	ptr_rebind(&stage->region);
	ptr_param("paged", "0");
	fd = ptr_open(&stage->region);
	stage->is_paged = fd >= 0 && !ptx_device_info(fd, &info) &&
			  info.flags & P2PBUF_DEVICE_PAGED;
	if (fd >= 0)
		close(fd);
}

/* @places: bits of enum ptf_place, those that the program has a use for */
static inline void ptf_stage_make(struct ptf_stage *stage, unsigned int places)
{
	const char *main = getenv("P2PBUF_NVME_MAIN");
	const char *second = getenv("P2PBUF_NVME_SECOND");
	char disk[64];
	int i;

	for (i = 0; i < PTF_PLACES; i++)
		strcpy(stage->missing[i], "no NVMe drive P2PBUF_NVME_MAIN");
	ptf_exporter(stage);
	if (!main || !stage->is_paged)
		return;

	ptf_partitions(BLKPG_DEL_PARTITION);
	ptf_partitions(BLKPG_ADD_PARTITION);
	snprintf(disk, sizeof(disk), "%sp21", main);
	if (places & 1u << PTF_EXT4)
		ptf_filesystem(stage, PTF_EXT4, "ext4",
			       "mkfs.ext4 -q -F -b 4096", disk);
	snprintf(disk, sizeof(disk), "%sp22", main);
	if (places & 1u << PTF_XFS)
		ptf_filesystem(stage, PTF_XFS, "xfs", "mkfs.xfs -q -f", disk);
	if (places & 1u << PTF_RAID0)
		ptf_raid(stage, main, second);
	if (places & 1u << PTF_LINEAR)
		ptf_linear(stage, main, second);
	if (places & 1u << PTF_LOOP)
		ptf_loop(stage);
}

static inline void ptf_stage_unmake(struct ptf_stage *stage)
{
	if (stage->at[PTF_EXT4][0])
		umount(stage->at[PTF_EXT4]);
	if (stage->at[PTF_XFS][0])
		umount(stage->at[PTF_XFS]);
	if (stage->at[PTF_LOOP][0]) {
		umount(stage->at[PTF_LOOP]);
		ptk_run("losetup -d /dev/loop7 2>/dev/null; rm -f /tmp/loop.img");
	}
	if (stage->at[PTF_LINEAR][0])
		ptk_run(PTF_DMSETUP " remove linear");
	if (stage->at[PTF_RAID0][0])
		ptk_run("/ci/toolbox mdadm --stop /dev/md20 2>/dev/null");
	ptf_partitions(BLKPG_DEL_PARTITION);
	if (stage->is_paged)
		ptr_rebind(&stage->region);
}

/* ---- I/O ---- */

static inline void ptf_fill(unsigned char *bytes, uint64_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15 + 1, i;

	for (i = 0; i + 8 <= n; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(bytes + i, &x, 8);
	}
	for (; i < n; i++)
		bytes[i] = i;
}

/* All of it; -errno, or the bytes that came. */
static inline int64_t ptf_host_io(int fd, bool write, void *bytes, uint64_t n, uint64_t at)
{
	uint64_t done = 0;
	ssize_t ret;

	while (done < n) {
		ret = write ? pwrite(fd, (char *)bytes + done, n - done, at + done) :
			      pread(fd, (char *)bytes + done, n - done, at + done);
		if (ret < 0)
			return -errno;
		if (!ret)
			break;
		done += ret;
	}

	return done;
}

/* Bytes are pinned until the last request is freed, a moment after its CQE. */
static inline uint64_t ptf_pins_in_the_end(struct p2pbuf_buffer *buf)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info), .pins = 1 };
	unsigned int tries;

	for (tries = 0; info.pins && tries < 1000; tries++) {
		if (tries)
			usleep(10000);
		if (p2pbuf_query(buf, &info))
			return -1;
	}
	return info.pins;
}

/* One request, waited for; the CQE's res or -errno. */
static inline int ptf_io(struct io_uring *ring, struct p2pbuf_binding *binding,
			 uint32_t direction, uint64_t buf_off, uint64_t len,
			 uint64_t file_off, uint32_t flags)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int ret;

	ret = p2pbuf_check(binding, direction, buf_off, len, file_off, flags,
			   NULL);
	if (ret < 0)
		return ret;
	sqe = io_uring_get_sqe(ring);
	ret = direction == P2PBUF_READ ?
		p2pbuf_prep_read(sqe, binding, buf_off, len, file_off, flags) :
		p2pbuf_prep_write(sqe, binding, buf_off, len, file_off, flags);
	if (ret < 0)
		return ret;
	io_uring_submit_and_wait(ring, 1);
	ret = io_uring_wait_cqe(ring, &cqe);
	if (ret < 0)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);

	return ret;
}

/* ---- every byte, both ways ---- */

#define PTF_POISON	0x5a
#define PTF_GUARD	4096

/**
 * struct ptf_pair - a buffer bound to a file, and host memory beside it
 * @ring: the ring of @binding
 * @binding: of the buffer to @fd
 * @vram: the buffer, mapped by the CPU
 * @host: as many bytes of host memory
 * @size: bytes of each
 * @block: of the file, see p2pbuf_bind_info()
 * @align: of the buffer, likewise
 * @fd: the file, O_DIRECT
 */
struct ptf_pair {
	struct io_uring *ring;
	struct p2pbuf_binding *binding;
	unsigned char *vram;
	unsigned char *host;
	uint64_t size;
	uint32_t block;
	uint32_t align;
	int fd;
};

static inline bool ptf_is_all(const unsigned char *p, uint64_t n, int value)
{
	return !n || (p[0] == value && !memcmp(p, p + 1, n - 1));
}

/* Poison the @n bytes at @from of @vram, and a guard on each side. */
static inline void ptf_poison(unsigned char *vram, uint64_t size, uint64_t from,
			      uint64_t n)
{
	uint64_t lo = from > PTF_GUARD ? from - PTF_GUARD : 0;
	uint64_t hi = from + n + PTF_GUARD < size ? from + n + PTF_GUARD : size;

	memset(vram + lo, PTF_POISON, hi - lo);
}

/* Are there @n bytes at @from as those at @bytes, and the guards as they were? */
static inline bool ptf_only_these(const unsigned char *vram, uint64_t size,
				  uint64_t from, const void *bytes, uint64_t n)
{
	uint64_t lo = from > PTF_GUARD ? from - PTF_GUARD : 0;
	uint64_t hi = from + n + PTF_GUARD < size ? from + n + PTF_GUARD : size;

	return !memcmp(vram + from, bytes, n) &&
	       ptf_is_all(vram + lo, from - lo, PTF_POISON) &&
	       ptf_is_all(vram + from + n, hi - from - n, PTF_POISON);
}

static inline bool ptf_read_is_right(const struct ptf_pair *p, uint64_t buf_off,
				     uint64_t len, uint64_t file_off,
				     uint64_t seed)
{
	ptf_fill(p->host, len, seed);
	if (ptf_host_io(p->fd, true, p->host, len, file_off) != (int64_t)len)
		return false;
	ptf_poison(p->vram, p->size, buf_off, len);
	return ptf_io(p->ring, p->binding, P2PBUF_READ, buf_off, len, file_off,
		      0) == (int64_t)len &&
	       ptf_only_these(p->vram, p->size, buf_off, p->host, len);
}

static inline bool ptf_write_is_right(const struct ptf_pair *p,
				      uint64_t buf_off, uint64_t len,
				      uint64_t file_off, uint64_t seed)
{
	ptf_fill(p->vram + buf_off, len, seed);
	if (ptf_io(p->ring, p->binding, P2PBUF_WRITE, buf_off, len, file_off,
		   seed & 1 ? P2PBUF_FUA : 0) != (int64_t)len)
		return false;
	memset(p->host, PTF_POISON, len);
	return ptf_host_io(p->fd, false, p->host, len, file_off) ==
		       (int64_t)len &&
	       !memcmp(p->host, p->vram + buf_off, len);
}

/*
 * Sizes from one sector to 64 MiB, at offsets that are as odd as the file
 * permits, there and back. NULL, or what came out wrong.
 */
static inline const char *ptf_both_directions(const struct ptf_pair *p)
{
	static const struct {
		uint64_t len, buf_off, file_off;
	} cases[] = {
		{ 512, 0, 0 },
		{ 512, 4096 + 512, 1536 },
		{ 4096, 8192, 4096 },
		{ 4096, 512, 12288 },
		{ 4096 + 512, 4096 - 512, 512 },
		{ 65536, 64, 65536 },
		{ 131072 + 512, 1 << 20, 512 },
		{ 1 << 20, 3 * 4096, 1 << 20 },
		{ (8 << 20) + 4096, 512, 3 << 20 },
		{ 64 << 20, 0, 0 },
	};
	static char wrong[64];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t len = (cases[i].len + p->block - 1) &
			       ~(uint64_t)(p->block - 1);
		uint64_t file_off = cases[i].file_off & ~(uint64_t)(p->block - 1);
		uint64_t buf_off = cases[i].buf_off & ~(uint64_t)(p->align - 1);
		bool read = ptf_read_is_right(p, buf_off, len, file_off, i);

		if (read && ptf_write_is_right(p, buf_off, len, file_off,
					       i + 100))
			continue;
		snprintf(wrong, sizeof(wrong), "%s of %llu bytes, case %zu",
			 read ? "write" : "read", (unsigned long long)len, i);
		return wrong;
	}
	return NULL;
}

#endif /* P2PBUF_TEST_FILE_H */
