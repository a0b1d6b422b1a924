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

TEST_HARNESS_MAIN
