// SPDX-License-Identifier: GPL-2.0
/*
 * The drive goes away, is reset, is reformatted; the module is unloaded.
 *
 * A binding belongs to the driver that was bound when it was made. After an
 * unbind its commands fail with ENODEV, nothing is left behind, and a new
 * binding works. A reset fails what was under way, with EIO, and nothing else.
 */
#include <pthread.h>
#include <sys/syscall.h>
#include <liburing.h>
#include <linux/nvme_ioctl.h>

#include "p2pbuf_test_drive.h"
#include "p2pbuf_test_region.h"

#define SIZE	(32 * PTN_MIB)
#define DRIVER	"/sys/bus/pci/drivers/nvme"

FIXTURE(unbind) {
	struct ptn_rig rig;
	struct ptn_load load;
	struct ptd_drive names;
};

FIXTURE_VARIANT(unbind) {
	const char *role;
	__u32 ring_flags;
};

FIXTURE_VARIANT_ADD(unbind, fast) {
	.role = "second",
};

FIXTURE_VARIANT_ADD(unbind, slow) {
	.role = "slow",
};

FIXTURE_VARIANT_ADD(unbind, sqpoll) {
	.role = "slow",
	.ring_flags = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(unbind, iopoll) {
	.role = "slow",
	.ring_flags = IORING_SETUP_IOPOLL,
};

static bool is_bound(const char *pci)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DRIVER "/%s", pci);
	return !access(path, F_OK);
}

static int unbind_driver(const char *pci)
{
	return ptk_write(DRIVER "/unbind", pci);
}

/* And wait until its namespace is there; it is looked for in the background. */
static int bind_driver(const char *pci, const char *role,
		       struct ptn_disk *disk)
{
	int i, ret;

	ret = ptk_write(DRIVER "/bind", pci);
	for (i = 0; !ret && i < 200; i++) {
		ret = ptn_disk_open(role, disk);
		if (!ret)
			return 0;
		if (ret == -ENODEV || ret == -ENOENT || ret == -ENXIO)
			ret = 0;
		usleep(50000);
	}
	return ret ? ret : -ETIMEDOUT;
}

FIXTURE_SETUP(unbind)
{
	PTN_RIG_OPEN(&self->rig, .role = variant->role, .kind = PTN_VRAM,
		     .size = SIZE, .ring_flags = variant->ring_flags);
	ASSERT_EQ(0, ptd_find(&self->rig.disk, &self->names));
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 24, 65536,
				   1UL << 40));
}

FIXTURE_TEARDOWN(unbind)
{
	struct ptn_disk disk;

	ptn_rig_close(&self->rig);
	if (self->names.pci[0] && !is_bound(self->names.pci))
		if (!bind_driver(self->names.pci, variant->role, &disk))
			ptn_disk_close(&disk);
}

/* Does something to the drive after a while, when the load is under way. */
struct deed {
	pthread_t thread;
	const volatile unsigned long *done;	/* by the load */
	const char *path;
	const char *text;
	int times;
	int ret;
	volatile int over;
};

static void *deed_run(void *arg)
{
	struct deed *d = arg;
	unsigned int ms;

	for (ms = 0; ms < 20000 && !*d->done; ms += 10)
		usleep(10000);
	while (d->times-- && !d->ret) {
		usleep(100000);
		d->ret = ptk_write(d->path, d->text);
	}
	d->over = 1;
	return NULL;
}

static int start(struct deed *d, const struct ptn_load *load, const char *path,
		 const char *text, int times)
{
	*d = (struct deed){
		.done = &load->done, .path = path, .text = text, .times = times,
	};
	return pthread_create(&d->thread, NULL, deed_run, d);
}

/* A new binding of @disk works; the old one, @id, is as dead as before. */
static void works_anew(struct __test_metadata *_metadata, struct ptn_rig *rig,
		       struct ptn_load *load, struct ptn_disk *disk)
{
	int id;

	id = ptn_bind(rig->node, rig->buffer.dmabuf, disk->fd, 0);
	ASSERT_LT(0, id);
	ASSERT_EQ(0, ptn_disk_fill(disk, load->read_area, load->read_size,
				   PTN_LOAD_SEED, rig->scratch, PTN_SCRATCH));
	*load = (struct ptn_load){
		.ring = &rig->ring, .node = rig->node, .id = id,
		.map = rig->buffer.map, .depth = 24, .len = 65536,
		.read_area = load->read_area, .read_size = load->read_size,
		.write_area = load->write_area, .random = load->random,
		.target = 100,
	};
	PTN_LOAD_GOOD(load);
	EXPECT_EQ(0, ptn_unbind(rig->node, id));
}

TEST_F_TIMEOUT(unbind, under_load, 60)
{
	struct p2pbuf_nvme_bind_info info;
	struct ptn_rig *rig = &self->rig;
	struct ptn_disk disk;
	int before = ptd_attachments();
	struct deed deed;

	ASSERT_EQ(0, start(&deed, &self->load, DRIVER "/unbind",
			   self->names.pci, 1));
	/* ends when all slots have failed */
	EXPECT_EQ(0, ptn_load_run(&self->load));
	ASSERT_EQ(0, pthread_join(deed.thread, NULL));
	EXPECT_EQ(0, deed.ret);
	EXPECT_EQ(-ENODEV, self->load.error)
		TH_LOG("%s", strerror(-self->load.error));
	EXPECT_EQ(24, self->load.failed);
	EXPECT_EQ(0, self->load.wrong);
	EXPECT_LT(0, self->load.done);

	/* Everything that can be asked of it still has an answer. */
	EXPECT_EQ(-ENODEV, ptn_read(&rig->ring, rig->node, rig->id, 0,
				    PTN_READ_AREA, 4096));
	EXPECT_EQ(-ENODEV, ptn_write(&rig->ring, rig->node, rig->id, 0,
				     PTN_READ_AREA, 8 * PTN_MIB));
	EXPECT_EQ(0, ptn_info(rig->node, rig->id, &info));
	EXPECT_EQ(-ENODEV, ptn_bind(rig->node, rig->buffer.dmabuf,
				    rig->disk.fd, 0));
	/* The exporter is free to move it. */
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_SYSTEM, 0));
	EXPECT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));

	ASSERT_EQ(0, bind_driver(self->names.pci, variant->role, &disk));
	EXPECT_EQ(-ENODEV, ptn_read(&rig->ring, rig->node, rig->id, 0,
				    PTN_READ_AREA, 4096));
	works_anew(_metadata, rig, &self->load, &disk);
	EXPECT_EQ(0, ptn_unbind(rig->node, rig->id));
	if (before)
		EXPECT_EQ(before - 1, ptd_attachments());
	ptn_disk_close(&disk);
}

/* Moves and unbind at once: both end whatever is mapped. */
static void *mover_run(void *arg)
{
	struct ptn_rig *rig = arg;
	int i;

	for (i = 0; i < 12; i++) {
		ptx_move(rig->buffer.node, rig->buffer.handle,
			 i % 2 ? P2PBUF_PLACEMENT_VRAM :
			 P2PBUF_PLACEMENT_SYSTEM, 0);
		usleep(20000);
	}
	return NULL;
}

TEST_F_TIMEOUT(unbind, under_load_and_moves, 60)
{
	struct ptn_rig *rig = &self->rig;
	struct ptn_disk disk;
	struct deed deed;
	pthread_t mover;

	ASSERT_EQ(0, pthread_create(&mover, NULL, mover_run, rig));
	ASSERT_EQ(0, start(&deed, &self->load, DRIVER "/unbind",
			   self->names.pci, 1));
	EXPECT_EQ(0, ptn_load_run(&self->load));
	ASSERT_EQ(0, pthread_join(deed.thread, NULL));
	ASSERT_EQ(0, pthread_join(mover, NULL));
	EXPECT_EQ(0, deed.ret);
	EXPECT_EQ(-ENODEV, self->load.error);
	EXPECT_EQ(0, self->load.wrong);
	ASSERT_EQ(0, bind_driver(self->names.pci, variant->role, &disk));
	ASSERT_EQ(0, ptx_move(rig->buffer.node, rig->buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));
	works_anew(_metadata, rig, &self->load, &disk);
	ptn_disk_close(&disk);
}

/* Closing all in the wrong order, with the driver gone. */
TEST_F_TIMEOUT(unbind, then_close, 60)
{
	struct ptn_rig *rig = &self->rig;
	int before = ptd_attachments();

	ASSERT_EQ(0, unbind_driver(self->names.pci));
	ptn_disk_close(&rig->disk);
	close(rig->node);
	rig->node = -1;
	if (before)
		EXPECT_EQ(before - 1, ptd_attachments());
}

/* What was under way may fail, what comes after works, unbound or not. */
TEST_F_TIMEOUT(unbind, controller_reset, 60)
{
	struct ptn_rig *rig = &self->rig;
	char path[PATH_MAX];
	struct deed deed;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/reset_controller",
		 self->names.controller);
	ASSERT_EQ(0, start(&deed, &self->load, path, "1", 3));
	self->load.stop = &deed.over;
	self->load.tolerate = -EIO;
	EXPECT_EQ(0, ptn_load_run(&self->load));
	ASSERT_EQ(0, pthread_join(deed.thread, NULL));
	EXPECT_EQ(0, deed.ret);
	EXPECT_TRUE(!self->load.error || self->load.error == -EIO)
		TH_LOG("%s", strerror(-self->load.error));
	EXPECT_EQ(0, self->load.wrong);
	EXPECT_LT(0, self->load.done);
	TH_LOG("%lu done, %lu failed", self->load.done, self->load.failed);
	works_anew(_metadata, rig, &self->load, &rig->disk);
	/* the old binding, too */
	EXPECT_EQ(4096, ptn_read(&rig->ring, rig->node, rig->id, 0,
				 PTN_READ_AREA, 4096));
	EXPECT_EQ(4096, ptn_check(rig->buffer.map, 4096, PTN_LOAD_SEED,
				  PTN_READ_AREA));
}

/* ---- a dead drive ------------------------------------------------------------ */

#define PATIENCE_MS	"500"

/* The function neither decodes nor does DMA until its driver enables it. */
static int switch_off(const char *pci)
{
	char path[PATH_MAX];
	__u16 command;
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", pci);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pread(fd, &command, 2, 4) != 2)
		ret = -errno;
	command &= ~6;
	if (!ret && pwrite(fd, &command, 2, 4) != 2)
		ret = -errno;
	close(fd);
	return ret;
}

static void push_reads(struct ptn_rig *rig, unsigned int from, unsigned int to)
{
	for (; from < to; from++) {
		struct io_uring_sqe *sqe = ptn_sqe(&rig->ring);
		struct ptn_io io = {
			.op = PTN_READ, .id = rig->id, .buf = from * 4096,
			.dev = PTN_READ_AREA + from * 4096, .len = 4096,
		};

		ptn_prep(sqe, rig->node, &io);
		sqe->user_data = from;
	}
	io_uring_submit(&rig->ring);
}

/*
 * Commands time out and the controller is reset. Each ends once, as good or as
 * failed; nothing arrives after that; the binding works again.
 */
TEST_F_TIMEOUT(unbind, drive_switched_off, 60)
{
	struct ptn_rig *rig = &self->rig;
	unsigned int failed = 0, i, n = 48;
	char path[PATH_MAX], before[32];
	char *map = rig->buffer.map;
	__u64 number;
	int res;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/io_timeout",
		 rig->disk.name);
	ASSERT_EQ(0, ptn_read_text(path, before, sizeof(before)));
	ASSERT_EQ(0, ptk_write(path, PATIENCE_MS));
	ptn_poison(map, n * 4096);
	push_reads(rig, 0, n - 8);
	ASSERT_EQ(0, switch_off(self->names.pci));
	push_reads(rig, n - 8, n);
	for (i = 0; i < n; i++) {
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
	EXPECT_EQ(0, ptk_write(path, before));
	TH_LOG("%u of %u failed", failed, n);
	EXPECT_LE(8, failed);
	ptn_poison(map, n * 4096);
	usleep(100000);
	EXPECT_EQ(n * 4096, ptn_check_poison(map, n * 4096));
	works_anew(_metadata, rig, &self->load, &rig->disk);
}

/* ---- the exporter ------------------------------------------------------------ */

/*
 * The exporter goes while commands are under way: they end well, and what
 * comes after finds the bytes in host memory. Its CPU mappings are gone, so
 * the disk has to tell what the buffer holds.
 */
TEST(exporter_unplugged)
{
	struct p2pbuf_nvme_bind_info info;
	struct ptr_region region;
	struct ptn_rig rig;
	int i, strict, fixed, before = ptd_attachments(), n = 24;
	__u64 number;

	PTN_RIG_OPEN(&rig, .role = ptn_slow(), .kind = PTN_VRAM, .size = SIZE);
	ASSERT_EQ(0, ptr_find(0, &region));
	strict = ptn_bind(rig.node, rig.buffer.dmabuf, rig.disk.fd,
			  P2PBUF_NVME_BIND_PEER_ONLY);
	ASSERT_LT(0, strict);
	{
		struct drm_p2pbuf_gem_create create;
		int fd;

		ASSERT_EQ(0, ptx_create_window(rig.buffer.node, PTN_MIB, 0,
					       &create));
		fd = ptx_export(rig.buffer.node, create.handle, true);
		ASSERT_LE(0, fd);
		fixed = ptn_bind(rig.node, fd, rig.disk.fd, 0);
		ASSERT_LT(0, fixed);
		close(fd);
	}
	ASSERT_EQ(0, ptn_disk_fill(&rig.disk, PTN_READ_AREA, 8 * PTN_MIB, 1,
				   rig.scratch, PTN_SCRATCH));
	ptn_fill(rig.buffer.map, SIZE, 2, 0);
	for (i = 0; i < n; i++) {
		struct ptn_io io = {
			.op = PTN_READ, .id = rig.id, .buf = i * 65536,
			.dev = PTN_READ_AREA + i * 65536, .len = 65536,
		};

		ptn_prep(ptn_sqe(&rig.ring), rig.node, &io);
	}
	ASSERT_EQ(n, io_uring_submit(&rig.ring));
	EXPECT_EQ(0, ptr_unbind(&region));
	for (i = 0; i < n; i++)
		EXPECT_EQ(65536, ptn_wait(&rig.ring, &number));

	EXPECT_EQ(16 * (int)PTN_MIB,
		  ptn_write(&rig.ring, rig.node, rig.id, 0, PTN_WRITE_AREA,
			    16 * PTN_MIB));
	ASSERT_EQ(0, ptn_disk_read(&rig.disk, rig.scratch, 16 * PTN_MIB,
				   PTN_WRITE_AREA));
	EXPECT_EQ(n * 65536, ptn_check(rig.scratch, n * 65536, 1,
				       PTN_READ_AREA));
	EXPECT_EQ(16 * PTN_MIB - n * 65536,
		  ptn_check(rig.scratch + n * 65536, 16 * PTN_MIB - n * 65536,
			    2, n * 65536));
	EXPECT_EQ(0, ptn_info(rig.node, rig.id, &info));
	EXPECT_EQ(P2PBUF_PATH_SYSTEM, info.path.path);
	EXPECT_EQ(-EREMOTEIO, ptn_read(&rig.ring, rig.node, strict, 0,
				       PTN_READ_AREA, 4096));
	/* A window has no other place. */
	EXPECT_EQ(-ENODEV, ptn_read(&rig.ring, rig.node, fixed, 0,
				    PTN_READ_AREA, 4096));
	ptn_rig_close(&rig);
	EXPECT_EQ(0, ptr_probe(&region));
	if (before)
		EXPECT_EQ(before, ptd_attachments());
}

/* ---- formats --------------------------------------------------------------- */

struct format {
	__u32 index;
	__u32 block;
	__u32 metadata;
};

static int admin(const char *controller, struct nvme_admin_cmd *cmd)
{
	char path[PATH_MAX];
	int fd, ret;

	snprintf(path, sizeof(path), "/dev/%s", controller);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ioctl(fd, NVME_IOCTL_ADMIN_CMD, cmd);
	close(fd);
	return ret < 0 ? -errno : ret ? -EIO : 0;
}

/* Look for a format with that block and metadata size among the drive's. */
static int find_format(const char *controller, struct format *f)
{
	static __u8 id[4096];
	struct nvme_admin_cmd cmd = {
		.opcode = 0x06, .nsid = 1, .addr = (uintptr_t)id,
		.data_len = sizeof(id),
	};
	int i, ret = admin(controller, &cmd);

	if (ret)
		return ret;
	/* Identify Namespace: number of formats, then 4 bytes for each */
	for (i = 0; i <= id[25]; i++) {
		const __u8 *entry = id + 128 + 4 * i;

		if (1U << entry[2] == f->block &&
		    (entry[0] | entry[1] << 8) == (int)f->metadata) {
			f->index = i;
			return 0;
		}
	}
	return -ENOENT;
}

static int format(const char *controller, const struct format *f)
{
	struct nvme_admin_cmd cmd = {
		.opcode = 0x80, .nsid = 1, .cdw10 = f->index,
		.timeout_ms = 60000,
	};

	return admin(controller, &cmd);
}

/* The kernel looks at the namespace again in the background. */
static int wait_for_block(const char *name, __u32 block)
{
	char path[PATH_MAX], text[32];
	int i;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/logical_block_size",
		 name);
	for (i = 0; i < 200; i++) {
		if (!ptn_read_text(path, text, sizeof(text)) &&
		    strtoul(text, NULL, 10) == block)
			return 0;
		usleep(20000);
	}
	return -ETIMEDOUT;
}

TEST_F_TIMEOUT(unbind, reformatted, 60)
{
	struct format small = { .block = 512 }, large = { .block = 4096 };
	struct format inline_data = { .block = 512, .metadata = 8 };
	struct p2pbuf_nvme_bind bind;
	struct ptn_rig *rig = &self->rig;
	struct ptn_disk disk;
	int id, ret;

	if (variant->ring_flags || !strcmp(variant->role, "slow"))
		SKIP(return, "once is enough");
	if (find_format(self->names.controller, &small) ||
	    find_format(self->names.controller, &large))
		SKIP(return, "the drive has one format only");
	ret = format(self->names.controller, &large);
	if (ret)
		SKIP(return, "the drive cannot be formatted: %s",
		     strerror(-ret));
	ASSERT_EQ(0, wait_for_block(rig->disk.name, 4096));
	EXPECT_EQ(-ESTALE, ptn_read(&rig->ring, rig->node, rig->id, 0, 0,
				    4096));
	EXPECT_EQ(-ESTALE, ptn_write(&rig->ring, rig->node, rig->id, 0, 0,
				     8 * PTN_MIB));

	/* Anew, in larger blocks. */
	ptn_disk_close(&rig->disk);
	ASSERT_EQ(0, ptn_disk_open(variant->role, &disk));
	EXPECT_EQ(4096, disk.block);
	id = ptn_bind_range(rig->node, rig->buffer.dmabuf, disk.fd, 0, 0, 0,
			    &bind);
	ASSERT_LT(0, id);
	EXPECT_EQ(4096, bind.lba_size);
	EXPECT_EQ(-EDOM, ptn_read(&rig->ring, rig->node, id, 0, 0, 512));
	EXPECT_EQ(-EDOM, ptn_read(&rig->ring, rig->node, id, 0, 512, 4096));
	ASSERT_EQ(0, ptn_disk_fill(&disk, PTN_READ_AREA, 8 * PTN_MIB,
				   PTN_LOAD_SEED, rig->scratch, PTN_SCRATCH));
	ptn_poison(rig->buffer.map, SIZE);
	EXPECT_EQ(6 * (int)PTN_MIB, ptn_read(&rig->ring, rig->node, id, 516,
					     PTN_READ_AREA + 4096,
					     6 * PTN_MIB));
	EXPECT_EQ(6 * PTN_MIB, ptn_check((char *)rig->buffer.map + 516,
					 6 * PTN_MIB, PTN_LOAD_SEED,
					 PTN_READ_AREA + 4096));
	ptn_fill(rig->buffer.map, 4096, 3, disk.size - 4096);
	EXPECT_EQ(4096, ptn_write(&rig->ring, rig->node, id, 0,
				  disk.size - 4096, 4096));
	ASSERT_EQ(0, ptn_disk_read(&disk, rig->scratch, 4096,
				   disk.size - 4096));
	EXPECT_EQ(4096, ptn_check(rig->scratch, 4096, 3, disk.size - 4096));

	/* With metadata: the old binding and a new one are refused. */
	if (!find_format(self->names.controller, &inline_data) &&
	    !format(self->names.controller, &inline_data)) {
		usleep(200000);
		ret = ptn_read(&rig->ring, rig->node, id, 0, 0, 4096);
		EXPECT_TRUE(ret == -ESTALE || ret == -ENODEV)
			TH_LOG("%d", ret);
		EXPECT_GT(0, ptn_bind(rig->node, rig->buffer.dmabuf, disk.fd,
				      0));
	}
	ptn_disk_close(&disk);
	EXPECT_EQ(0, format(self->names.controller, &small));
	EXPECT_EQ(0, wait_for_block(rig->disk.name, 512));
}

/* ---- the module ------------------------------------------------------------ */

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* Enough that the slow drive has work for most of a second. */
#define LONG_READS	24

TEST(module_unload)
{
	struct ptn_io io = { .op = PTN_READ, .len = 8 * PTN_MIB };
	struct ptn_rig rig;
	int i, ret, fd;

	PTN_RIG_OPEN(&rig, .role = ptn_slow(), .kind = PTN_VRAM, .size = SIZE);
	EXPECT_EQ(-EWOULDBLOCK, unload("p2pbuf_nvme"));
	/* A ring that has commands under way holds it, too. */
	io.id = rig.id;
	for (i = 0; i < LONG_READS; i++)
		ptn_prep(ptn_sqe(&rig.ring), rig.node, &io);
	ASSERT_EQ(LONG_READS, io_uring_submit(&rig.ring));
	close(rig.node);
	rig.node = -1;
	EXPECT_EQ(-EWOULDBLOCK, unload("p2pbuf_nvme"));
	for (i = 0; i < LONG_READS; i++)
		EXPECT_EQ((int)io.len, ptn_wait(&rig.ring, NULL));
	/* A registered file as well. */
	fd = ptn_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, io_uring_register_files(&rig.ring, &fd, 1));
	close(fd);
	EXPECT_EQ(-EWOULDBLOCK, unload("p2pbuf_nvme"));
	ptn_rig_close(&rig);
	/* Files are let go of in the background. */
	for (i = 0; i < 100; i++) {
		ret = unload("p2pbuf_nvme");
		if (ret != -EWOULDBLOCK)
			break;
		usleep(50000);
	}
	EXPECT_EQ(0, ret);
	EXPECT_EQ(-ENOENT, ptn_open());
	ASSERT_EQ(0, system("modprobe p2pbuf_nvme"));
	fd = ptn_open();
	EXPECT_LE(0, fd);
	close(fd);
}

TEST_HARNESS_MAIN
