// SPDX-License-Identifier: GPL-2.0
/*
 * Error recovery of the PCI core (AER, DPC) and bindings.
 *
 * Between the two halves of a recovery the driver's queues stand still, for as
 * long as it takes to reset the link. Nothing of ours may be in the way of the
 * second half, or of those who take the drive away meanwhile.
 */
#include <pthread.h>
#include <signal.h>
#include <liburing.h>

#include "p2pbuf_probe.h"
#include "p2pbuf_test_drive.h"
#include "p2pbuf_test_pci.h"
#include "p2pbuf_test_run.h"

#define SIZE	(4 * PTN_MIB)

/* In which somebody who can go on would have done so. */
#define MOMENT_US	300000

FIXTURE(recover) {
	struct ptn_rig rig;
	struct ptn_load load;
	struct ptd_drive names;
	int probe;
};

FIXTURE_SETUP(recover)
{
	if (ptk_run("modprobe p2pbuf_probe"))
		SKIP(return, "no probe");
	self->probe = open(P2PBUF_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->probe);
	PTN_RIG_OPEN(&self->rig, .role = "second", .kind = PTN_VRAM,
		     .size = SIZE);
	ASSERT_EQ(0, ptd_find(&self->rig.disk, &self->names));
}

FIXTURE_TEARDOWN(recover)
{
	ptn_rig_close(&self->rig);
	close(self->probe);
}

static int tell(struct _test_data_recover *self, unsigned long what)
{
	__u32 function = pci_id(self->names.pci);

	return ioctl(self->probe, what, &function) ? -errno : 0;
}

/* One who binds beside us. */
struct binder {
	struct ptn_rig *rig;
	pthread_t thread;
	int id;
	volatile int over;
};

static void *binder_run(void *arg)
{
	struct binder *b = arg;
	struct p2pbuf_nvme_bind bind = {
		.size = sizeof(bind),
		.dmabuf_fd = b->rig->buffer.dmabuf,
		.bdev_fd = b->rig->disk.fd,
	};

	/* Not by ptn_bind(), which goes on after a signal. */
	b->id = ioctl(b->rig->node, P2PBUF_NVME_BIND, &bind) ? -errno :
							       (int)bind.id;
	b->over = 1;
	return NULL;
}

static int binder_start(struct binder *b, struct ptn_rig *rig)
{
	*b = (struct binder){ .rig = rig };
	return pthread_create(&b->thread, NULL, binder_run, b);
}

/* BIND waits for the drive, and the drive not for BIND. */
TEST_F_TIMEOUT(recover, bind_waits, 60)
{
	struct ptn_rig *rig = &self->rig;
	struct binder binder;

	ASSERT_EQ(0, tell(self, P2PBUF_PROBE_FREEZE));
	ASSERT_EQ(0, binder_start(&binder, rig));
	usleep(MOMENT_US);
	EXPECT_EQ(0, binder.over);
	/* Nor is anybody else in the way. */
	EXPECT_EQ(0, ptn_unbind(rig->node, rig->id));
	ASSERT_EQ(0, tell(self, P2PBUF_PROBE_THAW));
	ASSERT_EQ(0, pthread_join(binder.thread, NULL));
	ASSERT_LT(0, binder.id)
		TH_LOG("%s", strerror(-binder.id));
	ptd_works(_metadata, rig, &self->load, &rig->disk);
}

static void nothing(int sig)
{
	(void)sig;
}

TEST_F_TIMEOUT(recover, bind_is_interrupted, 60)
{
	struct sigaction act = { .sa_handler = nothing };
	struct ptn_rig *rig = &self->rig;
	struct binder binder;

	ASSERT_EQ(0, sigaction(SIGUSR1, &act, NULL));
	ASSERT_EQ(0, tell(self, P2PBUF_PROBE_FREEZE));
	ASSERT_EQ(0, binder_start(&binder, rig));
	usleep(MOMENT_US);
	ASSERT_EQ(0, pthread_kill(binder.thread, SIGUSR1));
	ASSERT_EQ(0, pthread_join(binder.thread, NULL));
	EXPECT_EQ(-EINTR, binder.id);
	ASSERT_EQ(0, tell(self, P2PBUF_PROBE_THAW));
	ptd_works(_metadata, rig, &self->load, &rig->disk);
}

static void *load_run(void *unused)
{
	(void)unused;
	return (void *)(long)ptk_run("modprobe p2pbuf_nvme");
}

/* The module is loaded meanwhile; it has other drives to try. */
TEST_F_TIMEOUT(recover, module_load, 60)
{
	struct ptn_rig *rig = &self->rig;
	pthread_t loader;
	void *ret;
	int tries;

	close(rig->node);
	rig->node = -1;
	/* Files are let go of in the background. */
	for (tries = 0; ptk_run("rmmod p2pbuf_nvme 2>/dev/null"); tries++) {
		ASSERT_GT(100, tries);
		usleep(50000);
	}
	ASSERT_EQ(0, tell(self, P2PBUF_PROBE_FREEZE));
	ASSERT_EQ(0, pthread_create(&loader, NULL, load_run, NULL));
	usleep(MOMENT_US);
	ASSERT_EQ(0, tell(self, P2PBUF_PROBE_THAW));
	ASSERT_EQ(0, pthread_join(loader, &ret));
	EXPECT_EQ(NULL, ret);
	rig->node = ptn_open();
	ASSERT_LE(0, rig->node);
	ptd_works(_metadata, rig, &self->load, &rig->disk);
}

/* ---- the drive goes meanwhile -------------------------------------------- */

/*
 * Few of the commands that were taken fit into the drive's queue, the others
 * are in the block layer when it stands still: nobody cancels those.
 */
#define QUEUE	4
#define DEPTH	24
#define PARAM	"/sys/module/nvme/parameters/io_queue_depth"
#define PATIENCE_MS	20000

FIXTURE(remove) {
	struct ptn_rig rig;
	struct ptn_load load;
	struct ptd_drive names;
	char depth[32];
	int probe;
};

/* @marked: the PCI core knows that it is gone. */
FIXTURE_VARIANT(remove) { bool marked; };
FIXTURE_VARIANT_ADD(remove, torn) { .marked = true, };
FIXTURE_VARIANT_ADD(remove, by_hand) { .marked = false, };

/* Wait until the namespace is there; it is looked for in the background. */
static int disk_back(const char *role, struct ptn_disk *disk)
{
	int ms, ret = -ENODEV;

	for (ms = 0; ret && ms < PATIENCE_MS; ms += 50) {
		ret = ptn_disk_open(role, disk);
		if (ret)
			usleep(50000);
	}
	return ret;
}

static int pull(const char *pci)
{
	char path[64];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/remove", pci);
	return ptk_write(path, "1");
}

static int push(const char *role, struct ptn_disk *disk)
{
	int ret = ptk_write("/sys/bus/pci/rescan", "1");

	return ret ? ret : disk_back(role, disk);
}

static int queue_write(const struct ptn_disk *disk, const char *attr,
		       const char *value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/block/%s/queue/%s", disk->name,
		 attr);
	return ptk_write(path, value);
}

/* The drive of that role comes anew, with queues of @depth. */
static int set_depth(const char *role, const char *depth)
{
	struct ptd_drive names;
	struct ptn_disk disk;
	int ret;

	ret = ptk_write(PARAM, depth);
	if (!ret)
		ret = ptn_disk_open(role, &disk);
	if (ret)
		return ret;
	ret = ptd_find(&disk, &names);
	ptn_disk_close(&disk);
	if (!ret)
		ret = pull(names.pci);
	if (!ret)
		ret = push(role, &disk);
	if (!ret)
		ptn_disk_close(&disk);
	return ret;
}

FIXTURE_SETUP(remove)
{
	char depth[8];

	if (ptk_run("modprobe p2pbuf_probe"))
		SKIP(return, "no probe");
	if (strcmp(ptn_slow(), "slow"))
		SKIP(return, "no slow drive");
	self->probe = open(P2PBUF_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->probe);
	ASSERT_EQ(0, ptn_read_text(PARAM, self->depth, sizeof(self->depth)));
	snprintf(depth, sizeof(depth), "%d", QUEUE);
	ASSERT_EQ(0, set_depth("slow", depth));
	PTN_RIG_OPEN(&self->rig, .role = "slow", .kind = PTN_VRAM,
		     .size = SIZE);
	ASSERT_EQ(0, ptd_find(&self->rig.disk, &self->names));
	/* With a scheduler there are more requests than the drive can have. */
	ASSERT_EQ(0, queue_write(&self->rig.disk, "scheduler", "mq-deadline"));
	ASSERT_EQ(0, queue_write(&self->rig.disk, "nr_requests", "64"));
}

FIXTURE_TEARDOWN(remove)
{
	ptn_rig_close(&self->rig);
	EXPECT_EQ(0, set_depth("slow", self->depth));
	close(self->probe);
}

TEST_F_TIMEOUT(remove, while_frozen, 60)
{
	__u32 function = pci_id(self->names.pci);
	struct ptn_rig *rig = &self->rig;
	struct ptn_disk disk;
	int i, res;

	ASSERT_EQ(0, ptn_load_init(&self->load, rig, DEPTH, 65536, 1));
	for (i = 0; i < DEPTH; i++) {
		struct ptn_io io = {
			.op = PTN_READ, .id = rig->id, .buf = i * 65536,
			.dev = PTN_READ_AREA + i * 65536, .len = 65536,
		};

		ptn_prep(ptn_sqe(&rig->ring), rig->node, &io);
	}
	ASSERT_EQ(DEPTH, io_uring_submit(&rig->ring));
	ASSERT_EQ(0, ioctl(self->probe, P2PBUF_PROBE_FREEZE, &function));
	if (variant->marked)
		ASSERT_EQ(0, ioctl(self->probe, P2PBUF_PROBE_DISCONNECT,
				   &function));
	ASSERT_EQ(0, pull(self->names.pci));
	for (i = 0; i < DEPTH; i++) {
		res = ptn_wait(&rig->ring, NULL);
		EXPECT_TRUE(res == 65536 || res == -EIO || res == -ETIMEDOUT ||
			    res == -ENODEV)
			TH_LOG("%s", strerror(-res));
	}
	EXPECT_EQ(-ENODEV, ptn_read(&rig->ring, rig->node, rig->id, 0,
				    PTN_READ_AREA, 4096));
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_SYSTEM, 0));
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));

	ASSERT_EQ(0, push("slow", &disk));
	ptd_works(_metadata, rig, &self->load, &disk);
	EXPECT_EQ(0, ptn_unbind(rig->node, rig->id));
	ptn_disk_close(&disk);
}

TEST_HARNESS_MAIN
