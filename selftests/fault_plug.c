// SPDX-License-Identifier: GPL-2.0
/*
 * The drive or the exporter is pulled out while data moves between the two,
 * and plugged in again: through sysfs, by the power of the slot, by a hand
 * outside, and with no word to anybody. Unlike an unbind the function itself is
 * gone, its configuration and its BARs with it, and what comes back is another
 * device in the same place.
 */
#include <pthread.h>
#include <liburing.h>

#include "p2pbuf_test_drive.h"
#include "p2pbuf_test_plug.h"
#include "p2pbuf_test_region.h"

#define SIZE	(16 * PTN_MIB)
#define DEPTH	24

FIXTURE(plug) {
	struct ptn_rig rig;
	struct ptn_load load;
	struct ptg_plug plug;
	struct ptr_region region;
	int attachments;
};

/* @unasked: the function is gone before its driver is told. */
FIXTURE_VARIANT(plug) { enum ptg_way way; bool unasked; };
FIXTURE_VARIANT_ADD(plug, sysfs) { .way = PTG_SYSFS, };
FIXTURE_VARIANT_ADD(plug, slot) { .way = PTG_SLOT, };
FIXTURE_VARIANT_ADD(plug, hand) { .way = PTG_MONITOR_DEL, };
FIXTURE_VARIANT_ADD(plug, vanishes) { .way = PTG_VANISH, .unasked = true, };
FIXTURE_VARIANT_ADD(plug, torn) { .way = PTG_TORN, .unasked = true, };

FIXTURE_SETUP(plug)
{
	self->plug.monitor = -1;
	self->attachments = ptd_attachments();
	PTN_RIG_OPEN(&self->rig, .role = ptn_slow(), .kind = PTN_VRAM,
		     .size = SIZE);
	ASSERT_EQ(0, ptr_find(0, &self->region));
}

/*
 * The function is new: it has to be told again who drives it. It can be seen a
 * moment before a driver may have it.
 */
static int exporter_back(struct ptr_region *region)
{
	int ms, fd, ret = -ENODEV;

	for (ms = 0; ms < PTG_PATIENCE_MS; ms += 50) {
		fd = ptr_open(region);
		if (fd >= 0) {
			close(fd);
			return 0;
		}
		ret = ptr_override(region, PTX_DRIVER_NAME "\n");
		if (!ret)
			ret = ptr_probe(region);
		usleep(50000);
	}
	return ret ? ret : -ENODEV;
}

/*
 * It came back beside the node that we still had open. Now that this is closed
 * it can have the old number again, and be the first for those who come next.
 */
static int exporter_first(struct ptr_region *region)
{
	struct ptr_region found;
	int ms, ret = 0;

	for (ms = 0; !ret && ms < PTG_PATIENCE_MS; ms += 100) {
		if (!ptr_find(0, &found) && found.pci == region->pci)
			return 0;
		usleep(100000);
		ret = ptr_rebind(region);
	}
	return ret ? ret : -ETIMEDOUT;
}

/* Wait until the namespace is there; it is looked for in the background. */
static int disk_back(const char *role, struct ptn_disk *disk)
{
	int ms, ret = -ENODEV;

	for (ms = 0; ret && ms < PTG_PATIENCE_MS; ms += 50) {
		ret = ptn_disk_open(role, disk);
		if (ret)
			usleep(50000);
	}
	return ret;
}

FIXTURE_TEARDOWN(plug)
{
	struct ptn_disk disk;

	ptn_rig_close(&self->rig);
	if (*self->plug.pci) {
		EXPECT_EQ(0, ptg_push(&self->plug));
		ASSERT_EQ(0, disk_back(ptn_slow(), &disk));
		ptn_disk_close(&disk);
		EXPECT_EQ(0, exporter_back(&self->region));
		EXPECT_EQ(0, exporter_first(&self->region));
	}
	ptg_close(&self->plug);
	EXPECT_EQ(self->attachments, ptd_attachments());
}

/* The slot of the rig's drive: why it cannot be pulled, or NULL. */
static const char *open_drive(struct ptg_plug *plug, struct ptn_rig *rig,
			      int way)
{
	char path[PATH_MAX], pci[32];

	snprintf(path, sizeof(path), "/sys/block/%s/device/address",
		 rig->disk.name);
	if (ptn_read_text(path, pci, sizeof(pci)))
		return "a drive without an address";
	return ptg_open(plug, ptn_slow(), pci, way);
}

/* How long the drive may take for a command. */
static int set_timeout(struct ptn_rig *rig, const char *ms)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/block/%s/queue/io_timeout",
		 rig->disk.name);
	return ptk_write(path, ms);
}

/* Pulls after a while, beside the load. */
struct puller {
	struct ptg_plug *plug;
	pthread_t thread;
	int ret;
};

static void *pull_run(void *arg)
{
	struct puller *p = arg;

	usleep(100000);
	p->ret = ptg_pull(p->plug);
	return NULL;
}

TEST_F_TIMEOUT(plug, drive, 90)
{
	struct p2pbuf_nvme_bind_info info;
	struct ptn_rig *rig = &self->rig;
	struct puller puller = { .plug = &self->plug };
	struct ptn_disk disk;
	const char *why;

	why = open_drive(&self->plug, rig, variant->way);
	if (why)
		SKIP(return, "%s", why);
	/*
	 * What a dead drive has not done is waited for until it is late; that of
	 * a drive which is known to be gone is not, or this would not end.
	 */
	if (variant->way == PTG_VANISH)
		ASSERT_EQ(0, set_timeout(rig, "1000"));
	if (variant->way == PTG_TORN)
		ASSERT_EQ(0, set_timeout(rig, "3600000"));
	ASSERT_EQ(0, ptn_load_init(&self->load, rig, DEPTH, 65536,
				   1UL << 40));
	ASSERT_EQ(0, pthread_create(&puller.thread, NULL, pull_run, &puller));
	/* Ends when all slots have failed. */
	EXPECT_EQ(0, ptn_load_run(&self->load));
	ASSERT_EQ(0, pthread_join(puller.thread, NULL));
	EXPECT_EQ(0, puller.ret);
	EXPECT_TRUE(self->load.error == -ENODEV ||
		    (variant->unasked &&
		     (self->load.error == -EIO ||
		      self->load.error == -ETIMEDOUT)))
		TH_LOG("%s", strerror(-self->load.error));
	EXPECT_EQ(DEPTH, self->load.failed);
	EXPECT_EQ(0, self->load.wrong);
	EXPECT_LT(0, self->load.done);

	/* What was bound to it is dead, and nobody else is hurt. */
	EXPECT_EQ(-ENODEV, ptn_read(&rig->ring, rig->node, rig->id, 0,
				    PTN_READ_AREA, 4096));
	EXPECT_EQ(0, ptn_info(rig->node, rig->id, &info));
	EXPECT_EQ(-ENODEV, ptn_bind(rig->node, rig->buffer.dmabuf,
				    rig->disk.fd, 0));
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_SYSTEM, 0));
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));

	/* Another drive comes in the same place. */
	ASSERT_EQ(0, ptg_push(&self->plug));
	ASSERT_EQ(0, disk_back(ptn_slow(), &disk));
	EXPECT_EQ(-ENODEV, ptn_read(&rig->ring, rig->node, rig->id, 0,
				    PTN_READ_AREA, 4096));
	ptd_works(_metadata, rig, &self->load, &disk);
	EXPECT_EQ(0, ptn_unbind(rig->node, rig->id));
	ptn_disk_close(&disk);
}

/* Binds again and again, until it cannot. */
struct binder {
	struct ptn_rig *rig;
	volatile unsigned long done;
	int error;
	pthread_t thread;
};

static void *bind_run(void *arg)
{
	struct binder *b = arg;
	int id;

	do {
		id = ptn_bind(b->rig->node, b->rig->buffer.dmabuf,
			      b->rig->disk.fd, 0);
		b->done += id > 0;
	} while (id > 0);
	b->error = id;
	return NULL;
}

/*
 * BIND reads from the drive and keeps it from being removed meanwhile: it must
 * find out by itself that there will be no answer.
 */
TEST_F_TIMEOUT(plug, drive_in_bind, 90)
{
	struct ptn_rig *rig = &self->rig;
	struct binder binder = { .rig = rig };
	const char *why;
	int ms;

	if (variant->way != PTG_TORN)
		SKIP(return, "once is enough");
	why = open_drive(&self->plug, rig, variant->way);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, set_timeout(rig, "3600000"));
	ASSERT_EQ(0, pthread_create(&binder.thread, NULL, bind_run, &binder));
	for (ms = 0; ms < 20000 && binder.done < 3; ms += 10)
		usleep(10000);
	EXPECT_LE(3, binder.done);
	/* There is a BIND now that will not be answered. */
	EXPECT_EQ(0, ptg_power(&self->plug, false));
	usleep(100000);
	EXPECT_EQ(0, ptg_pull(&self->plug));
	ASSERT_EQ(0, pthread_join(binder.thread, NULL));
	EXPECT_TRUE(binder.error == -EIO || binder.error == -ENODEV)
		TH_LOG("%s", strerror(-binder.error));
}

/* Reads of one place of the disk to the buffer, without waiting. */
static int push_reads(struct ptn_rig *rig, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct ptn_io io = {
			.op = PTN_READ, .id = rig->id, .buf = i * 65536,
			.dev = PTN_READ_AREA + i * 65536, .len = 65536,
		};

		ptn_prep(ptn_sqe(&rig->ring), rig->node, &io);
	}
	return io_uring_submit(&rig->ring);
}

/*
 * The exporter answered to the last: what was under way has ended well, and the
 * bytes are in host memory, where the disk can get at them.
 */
static void check_kept(struct __test_metadata *_metadata, struct ptn_rig *rig)
{
	int i;

	for (i = 0; i < DEPTH; i++)
		EXPECT_EQ(65536, ptn_wait(&rig->ring, NULL));
	EXPECT_EQ((int)SIZE, ptn_write(&rig->ring, rig->node, rig->id, 0,
				       PTN_WRITE_AREA, SIZE));
	ASSERT_EQ(0, ptn_disk_read(&rig->disk, rig->scratch, SIZE,
				   PTN_WRITE_AREA));
	EXPECT_EQ(DEPTH * 65536, ptn_check(rig->scratch, DEPTH * 65536, 1,
					   PTN_READ_AREA));
	EXPECT_EQ(SIZE - DEPTH * 65536,
		  ptn_check(rig->scratch + DEPTH * 65536,
			    SIZE - DEPTH * 65536, 2, DEPTH * 65536));
}

/*
 * It was gone before anybody could ask it for its bytes: they are nowhere, and
 * nobody is given others in their place. What was under way has ended, however
 * the drive likes it when nobody is at home.
 */
static void check_lost(struct __test_metadata *_metadata, struct ptn_rig *rig)
{
	int i, res;

	for (i = 0; i < DEPTH; i++) {
		res = ptn_wait(&rig->ring, NULL);
		EXPECT_TRUE(res == 65536 || res == -EIO || res == -ENODEV)
			TH_LOG("%s", strerror(-res));
	}
	EXPECT_TRUE(ptr_is_gone(rig->buffer.map));
	EXPECT_TRUE(ptr_is_gone((char *)rig->buffer.map + SIZE - 1));
	EXPECT_EQ(-ENODEV, ptn_write(&rig->ring, rig->node, rig->id, 0,
				     PTN_WRITE_AREA, SIZE));
	EXPECT_EQ(-ENODEV, ptn_bind(rig->node, rig->buffer.dmabuf,
				    rig->disk.fd, 0));
}

/* A window of the BAR has no other place in any case. */
TEST_F_TIMEOUT(plug, exporter, 90)
{
	struct drm_p2pbuf_gem_create window;
	struct ptn_rig *rig = &self->rig;
	struct ptn_buffer fresh;
	const char *why;
	int fd, fixed;

	why = ptg_open(&self->plug, "exporter", self->region.name,
		       variant->way);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ptx_create_window(rig->buffer.node, PTN_MIB, 0, &window));
	fd = ptx_export(rig->buffer.node, window.handle, true);
	ASSERT_LE(0, fd);
	fixed = ptn_bind(rig->node, fd, rig->disk.fd, 0);
	ASSERT_LT(0, fixed);
	close(fd);
	ASSERT_EQ(0, ptn_disk_fill(&rig->disk, PTN_READ_AREA, 8 * PTN_MIB, 1,
				   rig->scratch, PTN_SCRATCH));
	ptn_fill(rig->buffer.map, SIZE, 2, 0);

	ASSERT_EQ(DEPTH, push_reads(rig, DEPTH));
	ASSERT_EQ(0, ptg_pull(&self->plug));
	if (variant->unasked)
		check_lost(_metadata, rig);
	else
		check_kept(_metadata, rig);
	EXPECT_EQ(-ENODEV, ptn_read(&rig->ring, rig->node, fixed, 0,
				    PTN_READ_AREA, 4096));
	EXPECT_EQ(-ENODEV, ptx_move(rig->buffer.node, rig->buffer.handle,
				    P2PBUF_PLACEMENT_VRAM, 0));
	EXPECT_EQ(0, ptn_unbind(rig->node, fixed));

	/* Another one comes, with nothing in it, and works. */
	ASSERT_EQ(0, ptg_push(&self->plug));
	ASSERT_EQ(0, exporter_back(&self->region));
	ASSERT_EQ(0, ptn_buffer_alloc(&fresh, PTN_VRAM, SIZE));
	EXPECT_EQ(SIZE, ptx_check_value(fresh.map, SIZE, 0));
	EXPECT_EQ(0, ptn_unbind(rig->node, rig->id));
	ptn_buffer_free(&rig->buffer);
	rig->buffer = fresh;
	ptd_works(_metadata, rig, &self->load, &rig->disk);
}

TEST_HARNESS_MAIN
