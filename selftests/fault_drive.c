// SPDX-License-Identifier: GPL-2.0
/*
 * The drive misbehaves under load: it is too slow and its commands are aborted,
 * the link below it is reset and it is as good as gone, it is formatted. Each
 * command ends once, as good or as failed; what is good is right; nothing
 * arrives late; and in the end the drive works.
 */
#include <pthread.h>
#include <liburing.h>
#include <linux/nvme_ioctl.h>

#include "p2pbuf_test_drive.h"
#include "p2pbuf_test_pci.h"
#include "p2pbuf_test_run.h"

#define SIZE		(16 * PTN_MIB)
#define DEPTH		24
#define PATIENCE_MS	20000

FIXTURE(drive) {
	const char *role;	/* ptn_slow() says another while it is away */
	struct ptn_rig rig;
	struct ptn_load load;
	struct ptd_drive names;
};

FIXTURE_SETUP(drive)
{
	self->role = ptn_slow();
	PTN_RIG_OPEN(&self->rig, .role = self->role, .kind = PTN_VRAM,
		     .size = SIZE, .entries = 1024);
	ASSERT_EQ(0, ptd_find(&self->rig.disk, &self->names));
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, DEPTH, 65536,
				   1UL << 40));
}

static bool is_there(const char *pci)
{
	char path[64];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s", pci);
	return !access(path, F_OK);
}

/* Bound and with a namespace; else out with it, and look for it again. */
static int drive_back(const char *pci, const char *role,
		      struct ptn_disk *disk)
{
	char path[64];
	int ms, ret = -ENODEV;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/remove", pci);
	if (is_there(pci))
		ret = ptk_write(path, "1");
	if (!is_there(pci))
		ret = ptk_write("/sys/bus/pci/rescan", "1");
	if (ret)
		return ret;
	for (ms = 0; ms < PATIENCE_MS * ptk_slow(); ms += 50) {
		ret = ptn_disk_open(role, disk);
		if (!ret)
			break;
		usleep(50000);
	}
	return ret;
}

FIXTURE_TEARDOWN(drive)
{
	ptn_rig_close(&self->rig);
}

/* ---- too slow --------------------------------------------------------------------- */

#define READS	600
#define ROUNDS	4

static void push_reads(struct ptn_rig *rig)
{
	unsigned int i;

	for (i = 0; i < READS; i++) {
		struct io_uring_sqe *sqe = ptn_sqe(&rig->ring);
		struct ptn_io io = {
			.op = PTN_READ, .id = rig->id, .buf = i * 4096,
			.dev = PTN_READ_AREA + i * 4096, .len = 4096,
		};

		ptn_prep(sqe, rig->node, &io);
		sqe->user_data = i;
	}
	io_uring_submit(&rig->ring);
}

/* Returns how many failed. What did not is right. */
static unsigned int read_slowly(struct __test_metadata *_metadata,
				struct ptn_rig *rig)
{
	char *map = rig->buffer.map;
	unsigned int i, failed = 0;
	__u64 number;
	int res;

	ptn_poison(map, READS * 4096);
	push_reads(rig);
	for (i = 0; i < READS; i++) {
		res = ptn_wait(&rig->ring, &number);
		if (res == 4096) {
			EXPECT_EQ(4096, ptn_check(map + number * 4096, 4096,
						  PTN_LOAD_SEED, PTN_READ_AREA +
						  number * 4096));
			continue;
		}
		failed++;
		EXPECT_TRUE(res == -EIO || res == -ETIMEDOUT)
			TH_LOG("%s", strerror(-res));
	}
	return failed;
}

/* What the kernel says from here on. */
static int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0)
		return -errno;
	return fd;
}

/**
 * struct late - what the driver has done about commands that are late
 * @aborts: it told the drive to forget one
 * @resets: it gave up waiting for one that was to be forgotten
 */
struct late {
	unsigned int aborts;
	unsigned int resets;
};

/* Adds what was said of @controller since the last time. */
static void log_read(int fd, const char *controller, struct late *late)
{
	char line[8192], who[64];
	ssize_t n;

	snprintf(who, sizeof(who), " %s: ", controller);
	do {
		n = read(fd, line, sizeof(line) - 1);
		line[n < 0 ? 0 : n] = 0;
		if (!strstr(line, who))
			continue;
		late->aborts += !!strstr(line, "timeout, aborting");
		late->resets += !!strstr(line, "timeout, reset controller");
		/* -EPIPE: some was overwritten before we came */
	} while (n > 0 || errno == EPIPE);
}

/*
 * Half of the commands take longer than the block layer's patience: they are
 * aborted, which the drive may ignore, and those that are late again reset the
 * controller. Whether any fails is the drive's choice; that some were late is
 * certain, for they are submitted at once and take three seconds.
 */
TEST_F_TIMEOUT(drive, too_slow, 90)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	char path[PATH_MAX], before[32];
	unsigned int failed = 0, rounds = 0;
	struct late late = {};
	int log;

	if (strcmp(ptn_slow(), "slow"))
		SKIP(return, "no slow drive");
	log = log_open();
	ASSERT_LE(0, log);
	snprintf(path, sizeof(path), "/sys/block/%s/queue/io_timeout",
		 rig->disk.name);
	ASSERT_EQ(0, ptn_read_text(path, before, sizeof(before)));
	ASSERT_EQ(0, ptk_write(path, "250"));
	do {
		failed += read_slowly(_metadata, rig);
		log_read(log, self->names.controller, &late);
	} while (!late.aborts && ++rounds < ROUNDS);
	EXPECT_EQ(0, ptk_write(path, before));
	EXPECT_LT(0, late.aborts);
	printf("# %u failed, %u aborts, %u resets\n", failed, late.aborts,
	       late.resets);
	close(log);
	/* Nothing comes late. */
	ptn_poison(map, READS * 4096);
	usleep(300000);
	EXPECT_EQ(READS * 4096, ptn_check_poison(map, READS * 4096));
	ptd_works(_metadata, rig, &self->load, &rig->disk);
}

/* ---- the link ----------------------------------------------------------------------- */

struct deed {
	pthread_t thread;
	struct _test_data_drive *self;
	int ret;
};

/* Everything below the port forgets who it is: its registers, its queues. */
static void *reset_link(void *arg)
{
	struct deed *deed = arg;
	char bridge[PCI_NAME_MAX];
	__u16 control;

	usleep(100000);
	deed->ret = pci_upstream(deed->self->names.pci, bridge);
	if (!deed->ret)
		deed->ret = pci_config_read(bridge, PCI_BRIDGE_CONTROL,
					    &control, 2);
	if (deed->ret)
		return NULL;
	control |= PCI_BRIDGE_CTL_BUS_RESET;
	deed->ret = pci_config_write(bridge, PCI_BRIDGE_CONTROL, &control, 2);
	usleep(10000);
	control &= ~PCI_BRIDGE_CTL_BUS_RESET;
	if (!deed->ret)
		deed->ret = pci_config_write(bridge, PCI_BRIDGE_CONTROL,
					     &control, 2);
	return NULL;
}

/*
 * The driver finds a dead drive and gives it up, or brings it back. Whatever it
 * does, commands end; and the drive that a scan finds then works.
 */
TEST_F_TIMEOUT(drive, link_reset, 120)
{
	struct ptn_rig *rig = &self->rig;
	char path[PATH_MAX], name[NAME_MAX + 1];
	struct deed deed = { .self = self };
	struct ptn_disk disk;

	strcpy(name, rig->disk.name);
	snprintf(path, sizeof(path), "/sys/block/%.64s/queue/io_timeout", name);
	ASSERT_EQ(0, ptk_write(path, "1000"));
	ASSERT_EQ(0, pthread_create(&deed.thread, NULL, reset_link, &deed));
	/* Each slot ends with its first failure. */
	EXPECT_EQ(0, ptn_load_run(&self->load));
	ASSERT_EQ(0, pthread_join(deed.thread, NULL));
	EXPECT_EQ(0, deed.ret);
	EXPECT_EQ(DEPTH, self->load.failed);
	EXPECT_EQ(0, self->load.wrong);
	EXPECT_TRUE(self->load.error == -EIO || self->load.error == -ENODEV ||
		    self->load.error == -ETIMEDOUT)
		TH_LOG("%s", strerror(-self->load.error));
	/* Whatever state the drive is in, the buffer is free to move. */
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_SYSTEM, 0));
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));
	ptn_poison(rig->buffer.map, SIZE);
	EXPECT_EQ(0, ptn_unbind(rig->node, rig->id));
	ASSERT_EQ(0, drive_back(self->names.pci, self->role, &disk));
	EXPECT_EQ(SIZE, ptn_check_poison(rig->buffer.map, SIZE));
	ptd_works(_metadata, rig, &self->load, &disk);
	ptn_disk_close(&disk);
}

/* ---- a format ------------------------------------------------------------------------ */

/* By nvme-cli, as an administrator does it. */
static int format_with(const char *name, int block)
{
	return ptk_run("/ci/toolbox nvme format /dev/%s --block-size=%d --force >/dev/null",
		       name, block);
}

static void *format_it(void *arg)
{
	struct deed *deed = arg;

	usleep(100000);
	deed->ret = format_with(deed->self->rig.disk.name, 4096);
	return NULL;
}

/* Each block is what it was, or erased. */
static bool old_or_erased(const char *p, __u64 length, __u64 base)
{
	__u64 i;

	for (i = 0; i < length; i += 512)
		if (ptn_check(p + i, 512, PTN_LOAD_SEED, base + i) != 512 &&
		    ptx_check_value(p + i, 512, 0) != 512)
			return false;
	return true;
}

#define LEN	65536

static void submit_read(struct ptn_rig *rig, unsigned int i)
{
	struct io_uring_sqe *sqe = ptn_sqe(&rig->ring);
	struct ptn_io io = {
		.op = PTN_READ, .id = rig->id, .buf = i * LEN,
		.dev = PTN_READ_AREA + i * LEN, .len = LEN,
	};

	ptn_poison((char *)rig->buffer.map + i * LEN, LEN);
	ptn_prep(sqe, rig->node, &io);
	sqe->user_data = i;
	io_uring_submit(&rig->ring);
}

/*
 * Read again and again until the namespace has changed for all slots. What
 * meets the format itself fails as the drive likes.
 */
static int read_until_stale(struct __test_metadata *_metadata,
			    struct ptn_rig *rig)
{
	unsigned int i, busy = DEPTH, good = 0;
	__u64 number;
	int res;

	for (i = 0; i < DEPTH; i++)
		submit_read(rig, i);
	while (busy) {
		res = ptn_wait(&rig->ring, &number);
		if (res == -ESTALE) {
			busy--;
			continue;
		}
		EXPECT_TRUE(res == LEN || res == -EIO)
			TH_LOG("%s", strerror(-res));
		if (res == LEN) {
			good++;
			EXPECT_TRUE(old_or_erased((char *)rig->buffer.map +
						  number * LEN, LEN,
						  PTN_READ_AREA +
						  number * LEN));
		}
		submit_read(rig, number);
	}
	return good;
}

static int wait_for_block(const char *role, struct ptn_disk *disk,
			  __u32 block)
{
	int ms, ret;

	for (ms = 0; ms < PATIENCE_MS * ptk_slow(); ms += 50) {
		ret = ptn_disk_open(role, disk);
		if (!ret && disk->block == block)
			return 0;
		if (!ret)
			ptn_disk_close(disk);
		usleep(50000);
	}
	return -ETIMEDOUT;
}

static void works_in_large_blocks(struct __test_metadata *_metadata,
				  struct ptn_rig *rig, struct ptn_disk *disk)
{
	int id = ptn_bind(rig->node, rig->buffer.dmabuf, disk->fd, 0);

	ASSERT_LT(0, id);
	ptn_fill(rig->buffer.map, LEN, 3, 0);
	EXPECT_EQ(LEN, ptn_write(&rig->ring, rig->node, id, 0, PTN_WRITE_AREA,
				 LEN));
	ptn_poison(rig->buffer.map, LEN);
	EXPECT_EQ(LEN, ptn_read(&rig->ring, rig->node, id, 0, PTN_WRITE_AREA,
				LEN));
	EXPECT_EQ(LEN, ptn_check(rig->buffer.map, LEN, 3, 0));
	EXPECT_EQ(0, ptn_unbind(rig->node, id));
}

TEST_F_TIMEOUT(drive, formatted, 120)
{
	struct ptn_rig *rig = &self->rig;
	struct deed deed = { .self = self };
	struct ptn_disk disk;

	if (access("/ci/toolbox", X_OK) ||
	    system("/ci/toolbox nvme version >/dev/null"))
		SKIP(return, "no nvme-cli");
	ASSERT_EQ(0, pthread_create(&deed.thread, NULL, format_it, &deed));
	EXPECT_LT(0, read_until_stale(_metadata, rig));
	ASSERT_EQ(0, pthread_join(deed.thread, NULL));
	EXPECT_EQ(0, deed.ret);
	ASSERT_EQ(0, wait_for_block(self->role, &disk, 4096));
	works_in_large_blocks(_metadata, rig, &disk);
	ptn_disk_close(&disk);
	ASSERT_EQ(0, format_with(rig->disk.name, 512));
	ASSERT_EQ(0, wait_for_block(self->role, &disk, 512));
	ptd_works(_metadata, rig, &self->load, &disk);
	ptn_disk_close(&disk);
}

TEST_HARNESS_MAIN
