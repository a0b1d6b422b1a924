// SPDX-License-Identifier: GPL-2.0
/*
 * Discipline of /dev/p2pbuf-nvme: every ioctl, each refusal with its own errno,
 * and nothing changed by what was refused. nvme_command.c: every command.
 */
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <liburing.h>
#include <linux/loop.h>

#include "p2pbuf_test_rig.h"

#define SIZE		(4 * PTN_MIB)
#define CHUNK		(16 * PTN_MIB)
#define DEV		(8 * PTN_MIB)
#define NOBODY		65534
#define MAX_BINDINGS	4096

/* ---- ioctls ---------------------------------------------------------------- */

/*
 * Host memory of the system heap: what is tested here does not depend on the
 * way to the buffer, and this exporter is there on every machine.
 */
FIXTURE(ioctls) {
	struct ptn_rig rig;
	struct p2pbuf_nvme_bind bind;
};

FIXTURE_SETUP(ioctls)
{
	struct ptn_rig *rig = &self->rig;

	PTN_RIG_OPEN(rig, .kind = ptn_topology("swiotlb") ? PTN_VRAM : PTN_HEAP,
		     .size = SIZE,
		     .bind_flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM);
	self->bind = (struct p2pbuf_nvme_bind){
		.size = sizeof(self->bind),
		.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM,
		.dmabuf_fd = rig->buffer.dmabuf,
		.bdev_fd = rig->disk.fd,
	};
}

FIXTURE_TEARDOWN(ioctls)
{
	ptn_rig_close(&self->rig);
}

/* Bindings that exist, all files together; -1 without debugfs. */
static int count_bindings(void)
{
	FILE *f = fopen("/sys/kernel/debug/p2pbuf/nvme/bindings", "r");
	int c, lines = 0;

	if (!f)
		return -1;
	while ((c = fgetc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

/* How often BIND was refused with this errno; -1 without debugfs. */
static long count_refusals(const char *name)
{
	FILE *f = fopen("/sys/kernel/debug/p2pbuf/nvme/refusals", "r");
	char line[256], word[64];
	long count, found = -1;

	if (!f)
		return -1;
	while (found < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "%ld %63[^:]:", &count, word) == 2 &&
		    !strcmp(word, name))
			found = count;
	fclose(f);
	return found;
}

static int do_bind(int node, const struct p2pbuf_nvme_bind *bind)
{
	struct p2pbuf_nvme_bind copy = *bind;

	return ptx_ioctl(node, P2PBUF_NVME_BIND, &copy);
}

TEST_F(ioctls, unknown_number)
{
	static const unsigned long requests[] = {
		_IOWR(P2PBUF_NVME_IOC_MAGIC, 0x03, struct p2pbuf_nvme_bind),
		_IOWR(P2PBUF_NVME_IOC_MAGIC, 0x7f, struct p2pbuf_nvme_bind),
		_IOWR(P2PBUF_NVME_IOC_MAGIC, 0xff, struct p2pbuf_nvme_bind),
		P2PBUF_NVME_URING_READ, P2PBUF_NVME_URING_WRITE,
		_IOWR('x', 0x00, struct p2pbuf_nvme_bind), BLKGETSIZE64, 0,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(requests); i++)
		EXPECT_EQ(-ENOTTY, ptx_ioctl(self->rig.node, requests[i],
					     &self->bind));
}

/* Short, exact, long with a zero tail, long with something in it. */
struct sized {
	unsigned long request;
	__u32 size;
};

static const struct sized sized[] = {
	{ P2PBUF_NVME_BIND, sizeof(struct p2pbuf_nvme_bind) },
	{ P2PBUF_NVME_UNBIND, sizeof(struct p2pbuf_nvme_unbind) },
	{ P2PBUF_NVME_BIND_INFO, sizeof(struct p2pbuf_nvme_bind_info) },
};

/* A valid argument for sized[i] at @arg, for a binding made for it. */
static int valid_arg(struct ptn_rig *rig, unsigned int i,
		     const struct p2pbuf_nvme_bind *bind, void *arg)
{
	struct p2pbuf_nvme_unbind *unbind = arg;	/* BIND_INFO alike */
	int id;

	if (sized[i].request == P2PBUF_NVME_BIND) {
		memcpy(arg, bind, sizeof(*bind));
		return 0;
	}
	id = do_bind(rig->node, bind);
	if (id)
		return id;
	memset(arg, 0, sized[i].size);
	id = ptn_bind(rig->node, rig->buffer.dmabuf, rig->disk.fd,
		      bind->flags);
	unbind->size = sized[i].size;
	unbind->id = id;
	return id < 0 ? id : 0;
}

TEST_F(ioctls, sizes)
{
	static char arg[2 * 4096];
	__u32 *size = (__u32 *)arg;
	unsigned int i;
	__u32 n;

	for (i = 0; i < ARRAY_SIZE(sized); i++) {
		memset(arg, 0, sizeof(arg));
		ASSERT_EQ(0, valid_arg(&self->rig, i, &self->bind, arg));
		for (n = 0; n < sized[i].size; n++) {
			*size = n;
			EXPECT_EQ(-EINVAL, ptx_ioctl(self->rig.node,
						     sized[i].request, arg));
		}
		/* something in the tail, wherever */
		for (n = sized[i].size; n < 4096; n += 509) {
			*size = n + 1;
			arg[n] = 1;
			EXPECT_EQ(-E2BIG, ptx_ioctl(self->rig.node,
						    sized[i].request, arg));
			arg[n] = 0;
		}
		*size = 4097;
		EXPECT_EQ(-E2BIG, ptx_ioctl(self->rig.node, sized[i].request,
					    arg));
		*size = ~0U;
		EXPECT_EQ(-E2BIG, ptx_ioctl(self->rig.node, sized[i].request,
					    arg));
		*size = 4096;
		EXPECT_EQ(0, ptx_ioctl(self->rig.node, sized[i].request, arg));
		EXPECT_EQ(4096, *size);
	}
}

/* Nothing beyond what user space said it knows is written. */
TEST_F(ioctls, reply_ends_with_the_struct)
{
	struct {
		struct p2pbuf_nvme_bind_info info;
		char after[64];
	} arg;
	unsigned int i;

	memset(&arg, 0x5a, sizeof(arg));
	ASSERT_EQ(0, ptn_info(self->rig.node, self->rig.id, &arg.info));
	for (i = 0; i < sizeof(arg.after); i++)
		EXPECT_EQ(0x5a, arg.after[i]);
	EXPECT_EQ(sizeof(arg.info), arg.info.size);
}

TEST_F(ioctls, unknown_flags_and_reserved)
{
	struct p2pbuf_nvme_bind bind;
	struct p2pbuf_nvme_bind_info info = {
		.size = sizeof(info), .id = self->rig.id,
	};
	int i, before = count_bindings();

	for (i = 2; i < 32; i++) {
		bind = self->bind;
		bind.flags |= 1U << i;
		EXPECT_EQ(-EINVAL, do_bind(self->rig.node, &bind));
	}
	bind = self->bind;
	bind.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM |
		     P2PBUF_NVME_BIND_PEER_ONLY;
	EXPECT_EQ(-EINVAL, do_bind(self->rig.node, &bind));
	for (i = 0; i < 2; i++) {
		bind = self->bind;
		bind.reserved[i] = 1ULL << (i * 63);
		EXPECT_EQ(-EINVAL, do_bind(self->rig.node, &bind));
		info.reserved[i] = 1;
		EXPECT_EQ(-EINVAL, ptx_ioctl(self->rig.node,
					     P2PBUF_NVME_BIND_INFO, &info));
		info.reserved[i] = 0;
	}
	EXPECT_EQ(0, ptx_ioctl(self->rig.node, P2PBUF_NVME_BIND_INFO, &info));
	EXPECT_EQ(before, count_bindings());
}

TEST_F(ioctls, bad_addresses)
{
	struct p2pbuf_nvme_bind *bind;
	int before = count_bindings();
	unsigned int i;
	char *page;

	for (i = 0; i < ARRAY_SIZE(sized); i++) {
		EXPECT_EQ(-EFAULT, ptx_ioctl(self->rig.node, sized[i].request,
					     NULL));
		EXPECT_EQ(-EFAULT, ptx_ioctl(self->rig.node, sized[i].request,
					     (void *)-4096L));
	}
	/* The struct's end is not mapped. */
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, munmap(page + 4096, 4096));
	bind = (void *)(page + 4096 - sizeof(*bind) + 8);
	memcpy(bind, &self->bind, sizeof(*bind) - 8);
	EXPECT_EQ(-EFAULT, ptx_ioctl(self->rig.node, P2PBUF_NVME_BIND, bind));
	/* It can be read but not written: nothing half-done is left. */
	bind = (void *)page;
	memcpy(bind, &self->bind, sizeof(*bind));
	ASSERT_EQ(0, mprotect(page, 4096, PROT_READ));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(-EFAULT, ptx_ioctl(self->rig.node, P2PBUF_NVME_BIND,
					     bind));
	EXPECT_EQ(before, count_bindings());
}

TEST_F(ioctls, not_a_file_descriptor)
{
	struct p2pbuf_nvme_bind bind = self->bind;
	long refused = count_refusals("EBADF");

	bind.dmabuf_fd = -1;
	EXPECT_EQ(-EBADF, do_bind(self->rig.node, &bind));
	bind.dmabuf_fd = 1000;
	EXPECT_EQ(-EBADF, do_bind(self->rig.node, &bind));
	bind = self->bind;
	bind.bdev_fd = -1;
	EXPECT_EQ(-EBADF, do_bind(self->rig.node, &bind));
	bind.bdev_fd = 1000;
	EXPECT_EQ(-EBADF, do_bind(self->rig.node, &bind));
	if (refused >= 0)
		EXPECT_EQ(refused + 4, count_refusals("EBADF"));
}

TEST_F(ioctls, not_a_dma_buf)
{
	struct p2pbuf_nvme_bind bind = self->bind;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	bind.dmabuf_fd = pipes[0];
	EXPECT_EQ(-EBADFD, do_bind(self->rig.node, &bind));
	bind.dmabuf_fd = self->rig.disk.fd;
	EXPECT_EQ(-EBADFD, do_bind(self->rig.node, &bind));
	bind.dmabuf_fd = self->rig.node;
	EXPECT_EQ(-EBADFD, do_bind(self->rig.node, &bind));
	bind.dmabuf_fd = memfd_create("p2pbuf-test", MFD_CLOEXEC);
	EXPECT_EQ(-EBADFD, do_bind(self->rig.node, &bind));
}

TEST_F(ioctls, not_a_block_device)
{
	struct p2pbuf_nvme_bind bind = self->bind;
	char path[64];

	bind.bdev_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	EXPECT_EQ(-ENOTBLK, do_bind(self->rig.node, &bind));
	bind.bdev_fd = self->rig.buffer.dmabuf;
	EXPECT_EQ(-ENOTBLK, do_bind(self->rig.node, &bind));
	bind.bdev_fd = memfd_create("p2pbuf-test", MFD_CLOEXEC);
	EXPECT_EQ(-ENOTBLK, do_bind(self->rig.node, &bind));
	/* the namespace's character device is none either */
	snprintf(path, sizeof(path), "/dev/ng%.32s",
		 self->rig.disk.name + strlen("nvme"));
	bind.bdev_fd = open(path, O_RDWR | O_CLOEXEC);
	if (bind.bdev_fd >= 0)
		EXPECT_EQ(-ENOTBLK, do_bind(self->rig.node, &bind));
}

TEST_F(ioctls, not_nvme)
{
	struct p2pbuf_nvme_bind bind = self->bind;
	int control, file, number;
	char path[32];

	if (system("modprobe -q loop"))
		SKIP(return, "no loop devices");
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, control);
	number = ioctl(control, LOOP_CTL_GET_FREE);
	ASSERT_LE(0, number);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	bind.bdev_fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, bind.bdev_fd);
	file = memfd_create("p2pbuf-test", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(file, SIZE));
	ASSERT_EQ(0, ioctl(bind.bdev_fd, LOOP_SET_FD, file));
	EXPECT_EQ(-EPROTOTYPE, do_bind(self->rig.node, &bind));
	EXPECT_EQ(0, ioctl(bind.bdev_fd, LOOP_CLR_FD));
}

/* Bind the drive with serial number @role; its refusal is counted. */
static int bind_role(struct ptn_rig *rig, const char *role, const char *name)
{
	long before = count_refusals(name);
	struct ptn_disk disk;
	int ret;

	ret = ptn_disk_open(role, &disk);
	if (ret)
		return ret;
	ret = ptn_bind(rig->node, rig->buffer.dmabuf, disk.fd,
		       P2PBUF_NVME_BIND_ALLOW_SYSTEM);
	ptn_disk_close(&disk);
	if (before >= 0 && count_refusals(name) != before + 1)
		return -EXFULL;
	return ret;
}

static void role_refused(struct __test_metadata *_metadata,
			 struct ptn_rig *rig, const char *role, int err,
			 const char *name)
{
	int ret = bind_role(rig, role, name);

	if (ret == -ENODEV)
		SKIP(return, "no drive for this here");
	EXPECT_EQ(-err, ret);
}

TEST_F(ioctls, multipath_head)
{
	role_refused(_metadata, &self->rig, "multipath", EMLINK, "EMLINK");
}

TEST_F(ioctls, zoned_namespace)
{
	role_refused(_metadata, &self->rig, "zoned", EMEDIUMTYPE,
		     "EMEDIUMTYPE");
}

TEST_F(ioctls, metadata_namespace)
{
	role_refused(_metadata, &self->rig, "pi", EOPNOTSUPP, "EOPNOTSUPP");
}

TEST_F(ioctls, misaligned_range)
{
	static const __u64 odd[] = { 1, 8, 512, 2048, 4095, 4097, ~0ULL };
	struct p2pbuf_nvme_bind bind;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		bind = self->bind;
		bind.offset = odd[i];
		EXPECT_EQ(-EDOM, do_bind(self->rig.node, &bind));
		bind = self->bind;
		bind.length = odd[i];
		EXPECT_EQ(-EDOM, do_bind(self->rig.node, &bind));
	}
}

TEST_F(ioctls, range_outside)
{
	static const __u64 ranges[][2] = {
		{ 0, SIZE + 4096 }, { SIZE, 0 }, { SIZE, 4096 },
		{ SIZE - 4096, 8192 }, { 4096, SIZE },
		{ -4096ULL, 0 }, { -4096ULL, 4096 }, { -4096ULL, 8192 },
		{ 0, -4096ULL }, { 4096, -4096ULL }, { 8192, -8192ULL },
	};
	struct p2pbuf_nvme_bind bind;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		bind = self->bind;
		bind.offset = ranges[i][0];
		bind.length = ranges[i][1];
		EXPECT_EQ(-ERANGE, do_bind(self->rig.node, &bind));
	}
}

TEST_F(ioctls, ids)
{
	struct p2pbuf_nvme_bind_info info;
	int id, last = self->rig.id, i;

	for (i = 0; i < 100; i++) {
		id = ptn_bind(self->rig.node, self->rig.buffer.dmabuf,
			      self->rig.disk.fd, self->bind.flags);
		ASSERT_LT(0, id);
		/* not one that was in use before */
		EXPECT_LT(last, id);
		last = id;
		EXPECT_EQ(0, ptn_info(self->rig.node, id, &info));
		EXPECT_EQ(0, ptn_unbind(self->rig.node, id));
		EXPECT_EQ(-ENOENT, ptn_unbind(self->rig.node, id));
		EXPECT_EQ(-ENOENT, ptn_info(self->rig.node, id, &info));
	}
	EXPECT_EQ(-ENOENT, ptn_unbind(self->rig.node, 0));
	EXPECT_EQ(-ENOENT, ptn_unbind(self->rig.node, MAX_BINDINGS + 1));
	EXPECT_EQ(-ENOENT, ptn_unbind(self->rig.node, ~0U));
	EXPECT_EQ(-ENOENT, ptn_info(self->rig.node, 0, &info));
	EXPECT_EQ(-ENOENT, ptn_info(self->rig.node, ~0U, &info));
	/* Ids belong to the open file. */
	i = ptn_open();
	ASSERT_LE(0, i);
	EXPECT_EQ(-ENOENT, ptn_info(i, self->rig.id, &info));
	EXPECT_EQ(-ENOENT, ptn_unbind(i, self->rig.id));
	close(i);
	EXPECT_EQ(0, ptn_info(self->rig.node, self->rig.id, &info));
}

TEST_F_TIMEOUT(ioctls, too_many_bindings, 100)
{
	int i, id, node = ptn_open(), before = count_bindings();
	long refused = count_refusals("EMFILE");

	ASSERT_LE(0, node);
	for (i = 0; i < MAX_BINDINGS; i++) {
		id = ptn_bind(node, self->rig.buffer.dmabuf, self->rig.disk.fd,
			      self->bind.flags);
		ASSERT_LT(0, id);
	}
	EXPECT_EQ(-EMFILE, ptn_bind(node, self->rig.buffer.dmabuf,
				    self->rig.disk.fd, self->bind.flags));
	if (refused >= 0)
		EXPECT_EQ(refused + 1, count_refusals("EMFILE"));
	EXPECT_EQ(0, ptn_unbind(node, 77));
	EXPECT_EQ(77, ptn_bind(node, self->rig.buffer.dmabuf,
			       self->rig.disk.fd, self->bind.flags));
	EXPECT_EQ(-EMFILE, ptn_bind(node, self->rig.buffer.dmabuf,
				    self->rig.disk.fd, self->bind.flags));
	/* another file has room */
	EXPECT_LT(0, ptn_bind(self->rig.node, self->rig.buffer.dmabuf,
			      self->rig.disk.fd, self->bind.flags));
	close(node);
	EXPECT_EQ(before < 0 ? before : before + 1, count_bindings());
}

/* What an open file of the node does not do. */
TEST_F(ioctls, no_other_calls)
{
	struct pollfd poll_node = { .fd = self->rig.node, .events = POLLIN };
	char byte;

	EXPECT_EQ(-1, read(self->rig.node, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->rig.node, "x", 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED,
				   self->rig.node, 0));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_LE(0, poll(&poll_node, 1, 0));
}

/* ---- rights ---------------------------------------------------------------- */

static __u32 rights_of(struct ptn_rig *rig, int dmabuf, int disk_mode,
		       int *ret)
{
	struct p2pbuf_nvme_bind bind = {};
	char path[NAME_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", rig->disk.name);
	fd = open(path, disk_mode | O_CLOEXEC);
	if (fd < 0) {
		*ret = -errno;
		return 0;
	}
	*ret = ptn_bind_range(rig->node, dmabuf, fd, 0, 0,
			      P2PBUF_NVME_BIND_ALLOW_SYSTEM, &bind);
	close(fd);
	return *ret < 0 ? 0 : bind.rights;
}

#define R	P2PBUF_NVME_RIGHT_READ
#define W	P2PBUF_NVME_RIGHT_WRITE

/* Reading from the device writes the buffer, and the other way round. */
TEST_F(ioctls, rights)
{
	static const struct {
		int disk, buffer;
		__u32 rights;
	} table[] = {
		{ O_RDONLY, O_RDONLY, 0 },
		{ O_RDONLY, O_WRONLY, R },
		{ O_RDONLY, O_RDWR, R },
		{ O_WRONLY, O_RDONLY, W },
		{ O_WRONLY, O_WRONLY, 0 },
		{ O_WRONLY, O_RDWR, W },
		{ O_RDWR, O_RDONLY, W },
		{ O_RDWR, O_WRONLY, R },
		{ O_RDWR, O_RDWR, R | W },
	};
	struct ptn_rig *rig = &self->rig;
	int fds[3], i, id;

	if (rig->buffer.kind != PTN_HEAP)
		SKIP(return, "host memory needs bounce buffers here");
	for (i = 0; i < 3; i++) {
		fds[i] = ptk_heap(SIZE, i);
		ASSERT_LE(0, fds[i]);
	}
	for (i = 0; i < 9; i++) {
		__u32 rights = rights_of(rig, fds[table[i].buffer],
					 table[i].disk, &id);

		EXPECT_EQ(table[i].rights, rights);
		if (!rights) {
			EXPECT_EQ(-EACCES, id);
			continue;
		}
		EXPECT_LT(0, id);
		EXPECT_EQ(rights & R ? 512 : -EACCES,
			  ptn_read(&rig->ring, rig->node, id, 0, DEV, 512));
		EXPECT_EQ(rights & W ? 512 : -EACCES,
			  ptn_write(&rig->ring, rig->node, id, 0, DEV, 512));
	}
}

/* What writes and reads of a disk that is read-only come back with. */
static void read_only(struct __test_metadata *_metadata, struct ptn_rig *rig,
		      int id)
{
	EXPECT_EQ(-EROFS, ptn_write(&rig->ring, rig->node, id, 0, DEV, 512));
	EXPECT_EQ(-EROFS, ptn_write(&rig->ring, rig->node, id, 0, DEV,
				    2 * PTN_MIB));
	EXPECT_EQ(512, ptn_read(&rig->ring, rig->node, id, 0, DEV, 512));
}

TEST_F(ioctls, disk_becomes_read_only)
{
	struct ptn_rig *rig = &self->rig;
	int on = 1, off = 0;

	ASSERT_EQ(0, ioctl(rig->disk.fd, BLKROSET, &on));
	read_only(_metadata, rig, rig->id);
	ASSERT_EQ(0, ioctl(rig->disk.fd, BLKROSET, &off));
	EXPECT_EQ(512, ptn_write(&rig->ring, rig->node, rig->id, 0, DEV, 512));
}

TEST_F(ioctls, read_only_disk)
{
	struct ptn_rig *rig = &self->rig;
	struct ptn_disk disk;
	int ret, id;

	/* such a disk can be opened for writing all the same */
	ret = ptn_disk_open("readonly", &disk);
	if (ret == -ENODEV)
		SKIP(return, "no read-only drive here");
	ASSERT_EQ(0, ret);
	id = ptn_bind(rig->node, rig->buffer.dmabuf, disk.fd,
		      self->bind.flags);
	ASSERT_LT(0, id);
	read_only(_metadata, rig, id);
	ptn_disk_close(&disk);
}

TEST(node_is_not_for_everybody)
{
	struct stat st;
	int status;
	pid_t pid;

	if (stat(PTN_NODE, &st))
		SKIP(return, "no " PTN_NODE);
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0, st.st_mode & 0007);
	pid = fork();
	if (!pid) {
		if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		_exit(ptn_open() == -EACCES ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* ---- quota ----------------------------------------------------------------- */

/* As nobody, who may lock @limit bytes. Returns what went wrong, 0: nothing. */
static int quota_child(struct ptn_rig *rig, int node)
{
	struct rlimit limit = { 64 * PTN_KIB, 64 * PTN_KIB };
	int first, second, again, i;

	/* One chunk of lists, 64 KiB, serves 16 MiB. */
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setgroups(0, NULL) ||
	    setgid(NOBODY) || setuid(NOBODY))
		return 1;
	for (i = 0; i < 4; i++) {
		first = ptn_bind_range(node, rig->buffer.dmabuf, rig->disk.fd,
				       0, CHUNK, 0, NULL);
		if (first < 0)
			return 2;
		/* more of the same chunk costs nothing */
		again = ptn_bind_range(node, rig->buffer.dmabuf, rig->disk.fd,
				       PTN_MIB, PTN_MIB, 0, NULL);
		if (again < 0)
			return 3;
		second = ptn_bind_range(node, rig->buffer.dmabuf, rig->disk.fd,
					CHUNK - PTN_PAGE, 2 * PTN_PAGE, 0,
					NULL);
		if (second != -EDQUOT)
			return 4;
		/* what there was still works */
		if (ptn_read(&rig->ring, node, first, 0, DEV, PTN_MIB) !=
		    (int)PTN_MIB)
			return 5;
		if (ptn_unbind(node, first) || ptn_unbind(node, again))
			return 6;
	}
	return 0;
}

TEST(quota)
{
	struct ptn_rig rig;
	int status, node;
	pid_t pid;

	PTN_RIG_OPEN(&rig, .kind = PTN_VRAM, .size = 2 * CHUNK);
	/* the same number of the buffer's imports as a file of one's own */
	node = ptn_open();
	ASSERT_LE(0, node);
	pid = fork();
	if (!pid)
		_exit(quota_child(&rig, node));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_TRUE(WIFEXITED(status));
	close(node);
	ptn_rig_close(&rig);
}

/* ---- paths ----------------------------------------------------------------- */

static __u32 pci_of(const char *role)
{
	char name[NAME_MAX + 1], path[NAME_MAX + 64], text[64];
	unsigned int domain, bus, device, function;

	if (ptn_disk_name(role, name, sizeof(name)))
		return 0;
	snprintf(path, sizeof(path), "/sys/block/%s/device/address", name);
	if (ptn_read_text(path, text, sizeof(text)) ||
	    sscanf(text, "%x:%x:%x.%x", &domain, &bus, &device,
		   &function) != 4)
		return 0;
	return domain << 16 | bus << 8 | device << 3 | function;
}

/* Strict binding of host memory: never silently. */
static void strict_system(struct __test_metadata *_metadata,
			  enum ptn_kind kind)
{
	struct p2pbuf_nvme_bind bind;
	struct ptn_rig rig;
	__u32 flags;

	PTN_RIG_OPEN(&rig, .kind = kind, .size = SIZE, .no_bind = true);
	for (flags = 0; flags <= P2PBUF_NVME_BIND_PEER_ONLY;
	     flags += P2PBUF_NVME_BIND_PEER_ONLY) {
		int ret = ptn_bind_range(rig.node, rig.buffer.dmabuf,
					 rig.disk.fd, 0, 0, flags, &bind);

		if (ptn_topology("swiotlb")) {
			/* refused by us, or by the exporter that cannot map */
			if (bind.path.reason == P2PBUF_REASON_EXPORTER)
				continue;
			EXPECT_EQ(-EADDRNOTAVAIL, ret);
			EXPECT_EQ(P2PBUF_REASON_BOUNCE, bind.path.reason);
			continue;
		}
		EXPECT_EQ(-EREMOTEIO, ret);
		EXPECT_EQ(P2PBUF_PATH_SYSTEM, bind.path.path);
		EXPECT_EQ(P2PBUF_REASON_NOT_PEER, bind.path.reason);
		EXPECT_EQ(pci_of("main"), bind.path.importer);
		EXPECT_EQ(P2PBUF_PATH_NO_DEVICE, bind.path.exporter);
	}
	ptn_rig_close(&rig);
}

TEST(strict_heap)
{
	strict_system(_metadata, PTN_HEAP);
}

TEST(strict_udmabuf)
{
	strict_system(_metadata, PTN_UDMABUF);
}

/* An object of the exporter that lies in host memory. */
TEST(strict_moved_out)
{
	struct p2pbuf_nvme_bind bind;
	struct ptn_rig rig;

	PTN_RIG_OPEN(&rig, .kind = PTN_VRAM, .size = SIZE);
	EXPECT_EQ(0, ptx_move(rig.buffer.node, rig.buffer.handle,
			      P2PBUF_PLACEMENT_SYSTEM, 0));
	EXPECT_EQ(ptn_topology("swiotlb") ? -EADDRNOTAVAIL : -EREMOTEIO,
		  ptn_bind_range(rig.node, rig.buffer.dmabuf, rig.disk.fd, 0,
				 0, 0, &bind));
	EXPECT_EQ(0, ptx_move(rig.buffer.node, rig.buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));
	EXPECT_LT(0, ptn_bind_range(rig.node, rig.buffer.dmabuf, rig.disk.fd,
				    0, 0, 0, &bind));
	EXPECT_EQ(P2PBUF_REASON_NONE, bind.path.reason);
	ptn_rig_close(&rig);
}

/* A small heap buffer, which bounce buffers would hold. */
TEST(bounce_buffers)
{
	struct p2pbuf_nvme_bind bind;
	struct ptn_rig rig;

	if (!ptn_topology("swiotlb"))
		SKIP(return, "no bounce buffers here");
	PTN_RIG_OPEN(&rig, .kind = PTN_UDMABUF, .size = 64 * PTN_KIB,
		     .no_bind = true);
	EXPECT_EQ(-EADDRNOTAVAIL,
		  ptn_bind_range(rig.node, rig.buffer.dmabuf, rig.disk.fd, 0,
				 0, P2PBUF_NVME_BIND_ALLOW_SYSTEM, &bind));
	EXPECT_EQ(P2PBUF_REASON_BOUNCE, bind.path.reason);
	EXPECT_EQ(P2PBUF_PATH_REFUSED, bind.path.path);
	ptn_rig_close(&rig);
}

/* Strict binding of a window where this machine has no way to it. */
TEST(no_way_to_the_bar)
{
	struct p2pbuf_nvme_bind bind;
	struct ptn_rig rig;
	int ret;

	if (!ptn_expect("refused"))
		SKIP(return, "the drive reaches VRAM here");
	PTN_RIG_OPEN(&rig, .kind = PTN_WINDOW, .size = SIZE, .no_bind = true);
	ret = ptn_bind_range(rig.node, rig.buffer.dmabuf, rig.disk.fd, 0, 0,
			     P2PBUF_NVME_BIND_ALLOW_SYSTEM, &bind);
	EXPECT_GT(0, ret);
	EXPECT_EQ(P2PBUF_PATH_REFUSED, bind.path.path);
	EXPECT_NE(P2PBUF_REASON_NONE, bind.path.reason);
	EXPECT_NE(P2PBUF_REASON_NOT_PEER, bind.path.reason);
	if (ptn_topology("switch-iommu")) {
		EXPECT_EQ(-EFAULT, ret);
		EXPECT_EQ(P2PBUF_REASON_BUS_UNDER_IOMMU, bind.path.reason);
	}
	TH_LOG("window: %s, reason %u", strerror(-ret), bind.path.reason);
	ptn_rig_close(&rig);
}

TEST(verdict_names_the_devices)
{
	struct drm_p2pbuf_device_info device;
	struct ptn_rig rig;

	PTN_RIG_OPEN(&rig, .kind = PTN_VRAM, .size = SIZE);
	ASSERT_EQ(0, ptx_device_info(rig.buffer.node, &device));
	EXPECT_EQ(pci_of("main"), rig.bind.path.importer);
	EXPECT_EQ(device.pci, rig.bind.path.exporter);
	EXPECT_EQ(device.bar, rig.bind.path.exporter_bar);
	EXPECT_EQ(P2PBUF_REASON_NONE, rig.bind.path.reason);
	EXPECT_LE(1, rig.bind.path.generation);
	EXPECT_EQ(SIZE, rig.bind.length);
	EXPECT_EQ(rig.disk.size, rig.bind.capacity);
	EXPECT_EQ(rig.disk.block, rig.bind.lba_size);
	EXPECT_LE(PTN_PAGE, rig.bind.max_io);
	EXPECT_GE(PTN_MIB, rig.bind.max_io);
	ptn_rig_close(&rig);
}

/* I/O follows the buffer, unless the binding says that it must not. */
TEST(peer_only)
{
	struct p2pbuf_nvme_bind_info info;
	struct ptn_rig rig;
	int strict;

	PTN_RIG_OPEN(&rig, .kind = PTN_VRAM, .size = SIZE);
	strict = ptn_bind(rig.node, rig.buffer.dmabuf, rig.disk.fd,
			  P2PBUF_NVME_BIND_PEER_ONLY);
	ASSERT_LT(0, strict);
	EXPECT_EQ(4096, ptn_read(&rig.ring, rig.node, strict, 0, DEV, 4096));
	if (ptn_topology("swiotlb")) {
		ptn_rig_close(&rig);
		SKIP(return, "host memory needs bounce buffers here");
	}
	ASSERT_EQ(0, ptx_move(rig.buffer.node, rig.buffer.handle,
			      P2PBUF_PLACEMENT_SYSTEM, 0));
	ptn_poison(rig.buffer.map, SIZE);
	EXPECT_EQ(-EREMOTEIO, ptn_read(&rig.ring, rig.node, strict, 0, DEV,
				       4096));
	EXPECT_EQ(-EREMOTEIO, ptn_read(&rig.ring, rig.node, strict, 0, DEV,
				       2 * PTN_MIB));
	EXPECT_EQ(-EREMOTEIO, ptn_write(&rig.ring, rig.node, strict, 0, DEV,
					4096));
	EXPECT_EQ(SIZE, ptn_check_poison(rig.buffer.map, SIZE));
	ASSERT_EQ(0, ptn_info(rig.node, strict, &info));
	EXPECT_EQ(P2PBUF_PATH_SYSTEM, info.path.path);
	EXPECT_EQ(0, info.bytes_system);
	EXPECT_EQ(4096, ptn_read(&rig.ring, rig.node, rig.id, 0, DEV, 4096));
	ASSERT_EQ(0, ptn_info(rig.node, rig.id, &info));
	EXPECT_EQ(4096, info.bytes_system);
	ASSERT_EQ(0, ptx_move(rig.buffer.node, rig.buffer.handle,
			      P2PBUF_PLACEMENT_VRAM, 0));
	EXPECT_EQ(4096, ptn_read(&rig.ring, rig.node, strict, 0, DEV, 4096));
	ptn_rig_close(&rig);
}

/**
 * struct scribbler - writes the first block of a disk until it is told to stop
 * @disk: which
 * @page: what; its first byte counts
 * @times: how often it did
 * @stop: enough
 * @ret: 0, or the -errno it ended with
 */
struct scribbler {
	struct ptn_disk *disk;
	char *page;
	unsigned long times;
	int stop;
	int ret;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;

	while (!s->ret && !__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		memset(s->page, s->times, 4096);
		s->ret = ptn_disk_write(s->disk, s->page, 4096, 0);
		__atomic_add_fetch(&s->times, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* BIND reads the first block to see what the driver does; it may be in use. */
TEST_F_TIMEOUT(ioctls, bind_while_the_first_block_changes, 120)
{
	struct ptn_rig *rig = &self->rig;
	struct scribbler s = { .disk = &rig->disk };
	char *before = rig->scratch;
	pthread_t thread;
	int i, id;

	s.page = before + 4096;
	ASSERT_EQ(0, ptn_disk_read(&rig->disk, before, 4096, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, scribble, &s));
	for (i = 0; i < 40; i++) {
		id = ptn_bind(rig->node, rig->buffer.dmabuf, rig->disk.fd,
			      P2PBUF_NVME_BIND_ALLOW_SYSTEM);
		EXPECT_LT(0, id)
			TH_LOG("round %d: %s", i, strerror(-id));
		if (id > 0)
			EXPECT_EQ(0, ptn_unbind(rig->node, id));
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, s.ret);
	EXPECT_LT(0, s.times);
	EXPECT_EQ(0, ptn_disk_write(&rig->disk, before, 4096, 0));
}

TEST_HARNESS_MAIN
