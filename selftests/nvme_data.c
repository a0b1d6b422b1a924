// SPDX-License-Identifier: GPL-2.0
/*
 * Every byte of every shape of I/O between an NVMe namespace and a dma-buf.
 *
 * A read: the disk holds a pattern (put there with O_DIRECT pwrite), the
 * buffer is poisoned a page further than the request on both sides, and after
 * the read the request's bytes are the pattern and all others still poison.
 * A write: the other way round, looked at with O_DIRECT pread. Bindings go to
 * VRAM and to all the exporters of host memory that the machine has.
 */
#include <liburing.h>
#include <linux/blkpg.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_trace.h"

#define BUFFER		(36 * PTN_MIB)	/* three chunks of address lists */
#define CHUNK		(16 * PTN_MIB)
#define GUARD		PTN_PAGE
#define SEED_DISK	1ULL

/* Where on the disk: reads never see what writes leave behind. */
#define READ_AREA	(8 * PTN_MIB)
#define WRITE_AREA	(64 * PTN_MIB)

FIXTURE(data) {
	struct ptn_rig rig;
};

FIXTURE_VARIANT(data) {
	enum ptn_kind kind;
	__u32 flags;
};

FIXTURE_VARIANT_ADD(data, vram) {
	.kind = PTN_VRAM,
};

/* Where the drive cannot reach VRAM, the exporter moves the object. */
FIXTURE_VARIANT_ADD(data, vram_or_system) {
	.kind = PTN_VRAM,
	.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM,
};

FIXTURE_VARIANT_ADD(data, window) {
	.kind = PTN_WINDOW,
};

FIXTURE_VARIANT_ADD(data, udmabuf) {
	.kind = PTN_UDMABUF,
	.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM,
};

FIXTURE_VARIANT_ADD(data, heap) {
	.kind = PTN_HEAP,
	.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM,
};

FIXTURE_SETUP(data)
{
	PTN_RIG_OPEN(&self->rig, .kind = variant->kind, .size = BUFFER,
		     .bind_flags = variant->flags);
}

FIXTURE_TEARDOWN(data)
{
	ptn_rig_close(&self->rig);
}

/* A pattern of its own for each write. */
static __u64 next_seed = 2;

static bool wrong(const char *what, __u64 buf, __u64 dev, __u64 len,
		  __s64 detail)
{
	fprintf(stderr,
		"# %s: buffer offset %llu, disk offset %llu, length %llu: %lld\n",
		what, buf, dev, len, detail);
	return false;
}

/* One read into poison. The disk's pattern is in place. */
static bool read_at(struct ptn_rig *rig, __u64 buf, __u64 dev, __u64 len)
{
	char *map = rig->buffer.map;
	__u64 before = PTN_MIN(buf, GUARD);
	__u64 after = PTN_MIN(rig->buffer.size - buf - len, GUARD);
	__u64 n;
	int ret;

	ptn_poison(map + buf - before, before + len + after);
	ret = ptn_read(&rig->ring, rig->node, rig->id, buf, dev, len);
	if (ret != (int)len)
		return wrong("read returned", buf, dev, len, ret);
	n = ptn_check(map + buf, len, SEED_DISK, dev);
	if (n != len)
		return wrong("wrong byte", buf, dev, len, n);
	n = ptn_check_poison(map + buf - before, before);
	if (n != before)
		return wrong("touched before", buf, dev, len, n);
	n = ptn_check_poison(map + buf + len, after);
	if (n != after)
		return wrong("touched after", buf, dev, len, n);
	return true;
}

/* One write onto poison. */
static bool write_at(struct ptn_rig *rig, __u64 buf, __u64 dev, __u64 len)
{
	__u64 before = PTN_MIN(dev, GUARD);
	__u64 after = PTN_MIN(rig->disk.size - dev - len, GUARD);
	__u64 seed = next_seed++, n;
	int ret;

	ptn_poison(rig->scratch, before + len + after);
	ret = ptn_disk_write(&rig->disk, rig->scratch, before + len + after,
			     dev - before);
	if (ret)
		return wrong("poisoning the disk", buf, dev, len, ret);
	ptn_fill((char *)rig->buffer.map + buf, len, seed, dev);
	ret = ptn_write(&rig->ring, rig->node, rig->id, buf, dev, len);
	if (ret != (int)len)
		return wrong("write returned", buf, dev, len, ret);
	memset(rig->scratch, 0, before + len + after);
	ret = ptn_disk_read(&rig->disk, rig->scratch, before + len + after,
			    dev - before);
	if (ret)
		return wrong("reading the disk", buf, dev, len, ret);
	n = ptn_check(rig->scratch + before, len, seed, dev);
	if (n != len)
		return wrong("wrong byte on disk", buf, dev, len, n);
	n = ptn_check_poison(rig->scratch, before);
	if (n != before)
		return wrong("disk touched before", buf, dev, len, n);
	n = ptn_check_poison(rig->scratch + before + len, after);
	if (n != after)
		return wrong("disk touched after", buf, dev, len, n);
	return true;
}

static int fill_disk(struct ptn_rig *rig, __u64 dev, __u64 len)
{
	return ptn_disk_fill(&rig->disk, dev, len, SEED_DISK, rig->scratch,
			     CHUNK);
}

static const __u64 sizes[] = {
	512, 1 * PTN_KIB, 3584, 4 * PTN_KIB, 4608, 8 * PTN_KIB, 12 * PTN_KIB,
	64 * PTN_KIB, 128 * PTN_KIB, 256 * PTN_KIB - 512, 512 * PTN_KIB,
	PTN_MIB - 512, PTN_MIB, PTN_MIB + 512, 2 * PTN_MIB, 5 * PTN_MIB + 1536,
	16 * PTN_MIB,
};

/* Whence all but the short ones cross from one chunk of lists to the next. */
#define CROSSING	(CHUNK - 64 * PTN_KIB)

/* In the first page; multiples of 4, the device's own limit. */
static const __u64 offsets[] = { 0, 4, 512, 2044, 4092 };

TEST_F_TIMEOUT(data, sizes_and_offsets_read, 60)
{
	struct ptn_rig *rig = &self->rig;
	unsigned int s, o;

	ASSERT_EQ(0, fill_disk(rig, READ_AREA, CHUNK + PTN_MIB));
	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (o = 0; o < ARRAY_SIZE(offsets); o++) {
			if (sizes[s] > 2 * PTN_MIB && o > 1)
				continue;
			ASSERT_TRUE(read_at(rig, CROSSING + offsets[o],
					    READ_AREA + o * 512, sizes[s]));
		}
	}
}

TEST_F_TIMEOUT(data, sizes_and_offsets_write, 60)
{
	struct ptn_rig *rig = &self->rig;
	unsigned int s, o;

	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (o = 0; o < ARRAY_SIZE(offsets); o++) {
			if (sizes[s] > 2 * PTN_MIB && o > 1)
				continue;
			ASSERT_TRUE(write_at(rig, CROSSING + offsets[o],
					     WRITE_AREA + o * 512, sizes[s]));
		}
	}
}

/* Every place in a list page where a list can begin, short and as long as can be. */
TEST_F_TIMEOUT(data, every_list_slot, 60)
{
	struct ptn_rig *rig = &self->rig;
	__u64 page;

	ASSERT_EQ(0, fill_disk(rig, READ_AREA, 2 * PTN_MIB));
	for (page = 0; page < 512; page++) {
		ASSERT_TRUE(read_at(rig, page * PTN_PAGE, READ_AREA,
				    3 * PTN_PAGE));
		ASSERT_TRUE(read_at(rig, page * PTN_PAGE + 4092, READ_AREA,
				    2 * PTN_PAGE));
	}
	/* the longest lists: all places near the ends, some in between */
	for (page = 240; page < 512; page++)
		if (page % 256 < 16 || page % 256 > 240 || page % 16 == 0)
			ASSERT_TRUE(read_at(rig, page * PTN_PAGE + 4092,
					    READ_AREA, PTN_MIB));
}

/* Requests that begin on both sides of where chunks of lists meet. */
TEST_F_TIMEOUT(data, chunk_boundaries, 60)
{
	struct ptn_rig *rig = &self->rig;
	__u64 at, page;

	ASSERT_EQ(0, fill_disk(rig, READ_AREA, 2 * PTN_MIB));
	for (at = CHUNK; at < BUFFER; at += CHUNK) {
		for (page = at / PTN_PAGE - 4; page < at / PTN_PAGE + 4;
		     page++) {
			__u64 buf = page * PTN_PAGE;

			ASSERT_TRUE(read_at(rig, buf, READ_AREA, PTN_PAGE));
			ASSERT_TRUE(read_at(rig, buf, READ_AREA,
					    2 * PTN_PAGE));
			ASSERT_TRUE(read_at(rig, buf, READ_AREA,
					    5 * PTN_PAGE));
			ASSERT_TRUE(read_at(rig, buf + 512, READ_AREA,
					    PTN_PAGE));
			ASSERT_TRUE(write_at(rig, buf, WRITE_AREA,
					     5 * PTN_PAGE));
		}
		for (page = 255; page <= 257; page++)
			ASSERT_TRUE(read_at(rig, at - page * PTN_PAGE + 512,
					    READ_AREA, PTN_MIB));
	}
}

/* The buffer's first and last bytes. */
TEST_F(data, buffer_edges)
{
	struct ptn_rig *rig = &self->rig;

	ASSERT_EQ(0, fill_disk(rig, READ_AREA, 2 * PTN_MIB));
	ASSERT_TRUE(read_at(rig, 0, READ_AREA, 512));
	ASSERT_TRUE(read_at(rig, BUFFER - 512, READ_AREA, 512));
	ASSERT_TRUE(read_at(rig, BUFFER - PTN_MIB, READ_AREA, PTN_MIB));
	ASSERT_TRUE(write_at(rig, 0, WRITE_AREA, 512));
	ASSERT_TRUE(write_at(rig, BUFFER - 512, WRITE_AREA, 512));
	ASSERT_TRUE(write_at(rig, BUFFER - PTN_MIB, WRITE_AREA, PTN_MIB));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, rig->id,
				    BUFFER - 512, READ_AREA, 1024));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, rig->id, BUFFER,
				    READ_AREA, 512));
}

/* The disk's first and last sectors. */
TEST_F(data, disk_edges)
{
	struct ptn_rig *rig = &self->rig;
	__u64 block = rig->disk.block, size = rig->disk.size;

	ASSERT_EQ(0, fill_disk(rig, 0, PTN_MIB));
	ASSERT_EQ(0, fill_disk(rig, size - PTN_MIB, PTN_MIB));
	ASSERT_TRUE(read_at(rig, 0, 0, block));
	ASSERT_TRUE(read_at(rig, 0, size - block, block));
	ASSERT_TRUE(read_at(rig, 512, size - PTN_MIB, PTN_MIB));
	ASSERT_TRUE(write_at(rig, 0, 0, block));
	ASSERT_TRUE(write_at(rig, 0, size - block, block));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, rig->id, 0,
				    size - block, 2 * block));
	EXPECT_EQ(-ERANGE, ptn_write(&rig->ring, rig->node, rig->id, 0,
				     size - block, 2 * block));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, rig->id, 0,
				    size, block));
}

#define EVENT	"nvme/nvme_setup_cmd"

/* How many write commands the driver traced, and how many of them with FUA. */
static void count_traced_writes(unsigned int *writes, unsigned int *fua)
{
	char line[512], *ctrl;
	FILE *f = ptt_open();

	*writes = 0;
	*fua = 0;
	while (f && fgets(line, sizeof(line), f)) {
		ctrl = strstr(line, "ctrl=");
		if (!ctrl || !strstr(line, "nvme_cmd_write "))
			continue;
		*writes += 1;
		*fua += strtoul(ctrl + strlen("ctrl="), NULL, 0) >> 14 & 1;
	}
	if (f)
		fclose(f);
}

TEST_F(data, force_unit_access)
{
	struct ptn_rig *rig = &self->rig;
	struct ptn_io io = {
		.op = PTN_WRITE, .id = rig->id, .dev = WRITE_AREA,
		.len = 2 * PTN_MIB,
	};
	unsigned int parts, writes, fua;
	__u64 len = io.len;
	int traced;

	parts = (len + rig->bind.max_io - 1) / rig->bind.max_io;
	for (io.flags = 0; io.flags <= P2PBUF_NVME_FUA;
	     io.flags += P2PBUF_NVME_FUA) {
		ptn_fill(rig->buffer.map, len, 77 + io.flags, 0);
		ptt_clear();
		traced = ptt_event(EVENT, true);
		ASSERT_EQ((int)len, ptn_io(&rig->ring, rig->node, &io));
		ptt_event(EVENT, false);
		ASSERT_EQ(0, ptn_disk_read(&rig->disk, rig->scratch, len,
					   WRITE_AREA));
		EXPECT_EQ(len, ptn_check(rig->scratch, len, 77 + io.flags, 0));
		count_traced_writes(&writes, &fua);
		if (traced)
			continue;
		EXPECT_EQ(parts, writes);
		EXPECT_EQ(io.flags ? parts : 0, fua);
	}
}

/* Whole, split, and of a size that ends in the middle of a page. */
TEST_F(data, flush_after_read)
{
	struct ptn_rig *rig = &self->rig;
	static const __u32 lengths[] = { 512, 4096, 7680, 2 * PTN_MIB + 512 };
	struct ptn_io io = {
		.op = PTN_READ, .id = rig->id, .dev = READ_AREA,
		.flags = P2PBUF_NVME_FLUSH,
	};
	unsigned int i;

	ASSERT_EQ(0, fill_disk(rig, READ_AREA, 4 * PTN_MIB));
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		io.len = lengths[i];
		io.buf = i * PTN_PAGE + 4 * i;
		ptn_poison(rig->buffer.map, 4 * PTN_MIB);
		ASSERT_EQ((int)io.len, ptn_io(&rig->ring, rig->node, &io));
		EXPECT_EQ(io.len, ptn_check((char *)rig->buffer.map + io.buf,
					    io.len, SEED_DISK, READ_AREA));
	}
}

/* ---- partitions ------------------------------------------------------------ */

#define PART_NUMBER	1
#define PART_START	(96 * PTN_MIB + 8 * PTN_KIB)
#define PART_SIZE	(PTN_MIB + 12 * PTN_KIB)

static int partition(int fd, int op)
{
	struct blkpg_partition part = {
		.start = PART_START,
		.length = PART_SIZE,
		.pno = PART_NUMBER,
	};
	struct blkpg_ioctl_arg arg = {
		.op = op, .datalen = sizeof(part), .data = &part,
	};

	return ioctl(fd, BLKPG, &arg) ? -errno : 0;
}

/* As main binding's neighbour: same buffer, a partition of the same disk. */
TEST_F(data, partition)
{
	struct ptn_rig *rig = &self->rig;
	struct p2pbuf_nvme_bind bind;
	struct ptn_disk part;
	char name[NAME_MAX + 1], *scratch = rig->scratch;
	int id, ret;

	partition(rig->disk.fd, BLKPG_DEL_PARTITION);
	ASSERT_EQ(0, partition(rig->disk.fd, BLKPG_ADD_PARTITION));
	snprintf(name, sizeof(name), "%.32sp%d", rig->disk.name, PART_NUMBER);
	ret = ptn_disk_open_name(name, &part);
	ASSERT_EQ(0, ret);
	id = ptn_bind_range(rig->node, rig->buffer.dmabuf, part.fd, 0, 0,
			    variant->flags, &bind);
	ASSERT_LT(0, id);
	EXPECT_EQ(PART_SIZE, bind.capacity);

	/* Everything around the partition is the whole disk's pattern. */
	ASSERT_EQ(0, fill_disk(rig, PART_START - PTN_MIB,
			       PART_SIZE + 2 * PTN_MIB));
	ptn_poison(rig->buffer.map, PART_SIZE + GUARD);
	ASSERT_EQ((int)PART_SIZE, ptn_read(&rig->ring, rig->node, id, 0, 0,
					   PART_SIZE));
	EXPECT_EQ(PART_SIZE, ptn_check(rig->buffer.map, PART_SIZE, SEED_DISK,
				       PART_START));
	EXPECT_EQ(GUARD, ptn_check_poison((char *)rig->buffer.map + PART_SIZE,
					  GUARD));

	ptn_fill(rig->buffer.map, PART_SIZE, 3, 0);
	EXPECT_EQ((int)PART_SIZE, ptn_write(&rig->ring, rig->node, id, 0, 0,
					    PART_SIZE));
	ASSERT_EQ(0, ptn_disk_read(&rig->disk, scratch,
				   PART_SIZE + 2 * PTN_MIB,
				   PART_START - PTN_MIB));
	EXPECT_EQ(PTN_MIB, ptn_check(scratch, PTN_MIB, SEED_DISK,
				     PART_START - PTN_MIB));
	EXPECT_EQ(PART_SIZE, ptn_check(scratch + PTN_MIB, PART_SIZE, 3, 0));
	EXPECT_EQ(PTN_MIB, ptn_check(scratch + PTN_MIB + PART_SIZE, PTN_MIB,
				     SEED_DISK, PART_START + PART_SIZE));

	/* Its last sector, and not one further. */
	EXPECT_EQ(512, ptn_write(&rig->ring, rig->node, id, 0,
				 PART_SIZE - 512, 512));
	EXPECT_EQ(-ERANGE, ptn_write(&rig->ring, rig->node, id, 0,
				     PART_SIZE - 512, 1024));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, id, 0, PART_SIZE,
				    512));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, id, 0,
				    -512ULL, 1024));

	EXPECT_EQ(0, ptn_unbind(rig->node, id));
	ptn_disk_close(&part);
	EXPECT_EQ(0, partition(rig->disk.fd, BLKPG_DEL_PARTITION));
}

/* ---- page cache ------------------------------------------------------------ */

/* What was written through the page cache is what the device reads. */
TEST_F(data, buffered_write_then_read)
{
	struct ptn_rig *rig = &self->rig;
	__u64 len = 64 * PTN_KIB;

	ptn_fill(rig->scratch, len, SEED_DISK, READ_AREA);
	ASSERT_EQ((ssize_t)len, pwrite(rig->disk.fd, rig->scratch, len,
				       READ_AREA));
	EXPECT_TRUE(read_at(rig, 0, READ_AREA, len));
	/* Again, now that the pages are clean, and with new dirty ones. */
	EXPECT_TRUE(read_at(rig, 0, READ_AREA, len));
	ptn_fill(rig->scratch, 512, SEED_DISK, READ_AREA + 1024);
	ASSERT_EQ(512, pwrite(rig->disk.fd, rig->scratch, 512,
			      READ_AREA + 1024));
	EXPECT_TRUE(read_at(rig, 0, READ_AREA, len));
}

/* What the device wrote is what the page cache gives, though it had the old. */
TEST_F(data, write_then_buffered_read)
{
	struct ptn_rig *rig = &self->rig;
	__u64 len = 64 * PTN_KIB, dev = WRITE_AREA;
	int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ((ssize_t)len, pread(rig->disk.fd, rig->scratch,
					      len, dev));
		ptn_fill(rig->buffer.map, len, 100 + i, dev);
		ASSERT_EQ((int)len, ptn_write(&rig->ring, rig->node,
					      rig->id, 0, dev, len));
		ASSERT_EQ((ssize_t)len, pread(rig->disk.fd, rig->scratch,
					      len, dev));
		EXPECT_EQ(len, ptn_check(rig->scratch, len, 100 + i, dev));
	}
	/* A large one, split inside. */
	len = 4 * PTN_MIB;
	ASSERT_EQ((ssize_t)len, pread(rig->disk.fd, rig->scratch, len, dev));
	ptn_fill(rig->buffer.map, len, 110, dev);
	ASSERT_EQ((int)len, ptn_write(&rig->ring, rig->node, rig->id, 0,
				      dev, len));
	ASSERT_EQ((ssize_t)len, pread(rig->disk.fd, rig->scratch, len, dev));
	EXPECT_EQ(len, ptn_check(rig->scratch, len, 110, dev));
}

/* One sector written by the device, its neighbours dirty in the page cache. */
TEST_F(data, shared_page)
{
	struct ptn_rig *rig = &self->rig;
	__u64 dev = WRITE_AREA;

	ptn_poison(rig->scratch, PTN_PAGE);
	ASSERT_EQ(0, ptn_disk_write(&rig->disk, rig->scratch, PTN_PAGE, dev));
	ptn_fill(rig->scratch, PTN_PAGE, 5, dev);
	ASSERT_EQ((ssize_t)PTN_PAGE, pwrite(rig->disk.fd, rig->scratch,
					    PTN_PAGE, dev));
	ptn_fill(rig->buffer.map, 512, 6, dev + 1024);
	ASSERT_EQ(512, ptn_write(&rig->ring, rig->node, rig->id, 0,
				 dev + 1024, 512));
	ASSERT_EQ(0, fsync(rig->disk.fd));
	ASSERT_EQ(0, ptn_disk_read(&rig->disk, rig->scratch, PTN_PAGE, dev));
	EXPECT_EQ(1024, ptn_check(rig->scratch, 1024, 5, dev));
	EXPECT_EQ(512, ptn_check(rig->scratch + 1024, 512, 6, dev + 1024));
	EXPECT_EQ(PTN_PAGE - 1536, ptn_check(rig->scratch + 1536,
					     PTN_PAGE - 1536, 5, dev + 1536));
}

/* The same through a mapping of the block device. */
TEST_F(data, mapped_block_device)
{
	struct ptn_rig *rig = &self->rig;
	__u64 len = 16 * PTN_KIB, dev = WRITE_AREA;
	char *page;
	int i;

	page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED,
		    rig->disk.fd, dev);
	ASSERT_NE(MAP_FAILED, page);
	for (i = 0; i < 3; i++) {
		/* dirty through the mapping: the device reads it */
		ptn_fill(page, len, 200 + i, dev);
		ptn_poison(rig->buffer.map, len);
		ASSERT_EQ((int)len, ptn_read(&rig->ring, rig->node, rig->id,
					     0, dev, len));
		EXPECT_EQ(len, ptn_check(rig->buffer.map, len, 200 + i, dev));
		/* written by the device: the mapping shows it */
		ptn_fill(rig->buffer.map, len, 300 + i, dev);
		ASSERT_EQ((int)len, ptn_write(&rig->ring, rig->node,
					      rig->id, 0, dev, len));
		EXPECT_EQ(len, ptn_check(page, len, 300 + i, dev));
	}
	munmap(page, len);
}

/* ---- what the binding tells about it --------------------------------------- */

TEST_F(data, counters)
{
	struct ptn_rig *rig = &self->rig;
	struct p2pbuf_nvme_bind_info before, after;
	bool system;

	ASSERT_EQ(0, fill_disk(rig, READ_AREA, 8 * PTN_MIB));
	ASSERT_EQ(0, ptn_info(rig->node, rig->id, &before));
	ASSERT_TRUE(read_at(rig, 0, READ_AREA, 64 * PTN_KIB));
	ASSERT_TRUE(read_at(rig, 0, READ_AREA, 8 * PTN_MIB));
	ASSERT_TRUE(write_at(rig, 0, WRITE_AREA, 512));
	ASSERT_EQ(0, ptn_info(rig->node, rig->id, &after));
	system = after.path.path == P2PBUF_PATH_SYSTEM;
	EXPECT_EQ(8 * PTN_MIB + 64 * PTN_KIB + 512,
		  after.bytes_peer - before.bytes_peer +
		  after.bytes_system - before.bytes_system);
	EXPECT_EQ(0, system ? after.bytes_peer : after.bytes_system);
	EXPECT_EQ(0, after.errors);
	EXPECT_LE(2, after.reads - before.reads);
	EXPECT_EQ(1, after.writes - before.writes);
	EXPECT_EQ(rig->disk.size, after.capacity);
	EXPECT_EQ(BUFFER, after.length);
	EXPECT_LE(1, after.path.generation);
	EXPECT_LE(BUFFER / PTN_PAGE * 16, after.table_bytes);
	EXPECT_EQ(rig->disk.block, after.lba_size);
	EXPECT_EQ(P2PBUF_NVME_RIGHT_READ | P2PBUF_NVME_RIGHT_WRITE,
		  after.rights);
	if (variant->kind == PTN_VRAM && !variant->flags) {
		EXPECT_TRUE(ptn_expect(after.path.path == P2PBUF_PATH_BUS ?
				       "bus" : "bridge"));
	}
}

TEST_HARNESS_MAIN
