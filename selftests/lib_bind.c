// SPDX-License-Identifier: GPL-2.0
/*
 * Bindings as an application sees them: which files are taken and why others
 * are not, strict by default, requests judged before they become SQEs, and
 * that data arrives by the path that p2pbuf_bind_info() names.
 *
 * In topologies where the drive cannot reach the exporter the same tests look
 * for the refusal and its reason.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <liburing.h>

#include "p2pbuf_test_lib.h"
#include "kselftest_harness.h"

#define SIZE	(1024 * 1024)
#define POISON	0x5a

FIXTURE(bind)
{
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_exporter_info info;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_binding *binding;
	struct p2pbuf_bind_opts opts;
	struct p2pbuf_bind_info bound;
	struct p2pbuf_error error;
	struct io_uring ring;
	struct io_uring_sqe sqe;
	const char *expect;
	int inherited;
	unsigned char *bytes;
	unsigned char *disk_bytes;
	const char *drive;
	int disk;
	int fds;
};

FIXTURE_SETUP(bind)
{
	const char *disk = getenv("P2PBUF_NVME_MAIN");

	self->drive = disk;
	self->error.size = sizeof(self->error);
	self->info.size = sizeof(self->info);
	self->opts.size = sizeof(self->opts);
	self->bound.size = sizeof(self->bound);
	self->expect = getenv("P2PBUF_EXPECT_PATH");
	if (!disk || !self->expect)
		SKIP(return, "no NVMe drive named by P2PBUF_NVME_MAIN");
	self->fds = ptl_count_fds();
	self->inherited = ptl_count_inherited();
	if (p2pbuf_exporter_open(NULL, &self->exporter, &self->error))
		SKIP(return, "%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_exporter_info(self->exporter, &self->info));
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&self->bytes));
	self->disk = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->disk);
	self->disk_bytes = aligned_alloc(4096, SIZE);
	ASSERT_NE(NULL, self->disk_bytes);
}

FIXTURE_TEARDOWN(bind)
{
	if (!self->exporter)
		return;
	p2pbuf_unbind(self->binding);
	p2pbuf_unmap(self->bytes, SIZE);
	p2pbuf_free(self->buf);
	p2pbuf_exporter_close(self->exporter);
	io_uring_queue_exit(&self->ring);
	close(self->disk);
	free(self->disk_bytes);
	EXPECT_EQ(self->fds, ptl_count_fds());
}

#define BIND() p2pbuf_bind(&self->ring, self->buf, self->disk, &self->opts, \
			   &self->binding, &self->error)

#define EXPECT_REFUSED(err, call) do {					\
	self->error.text[0] = '\0';					\
	EXPECT_EQ(-(err), (call));					\
	EXPECT_EQ((err), self->error.code);				\
	EXPECT_TRUE(ptl_is_sentence(&self->error)) {			\
		TH_LOG("text: '%s'", self->error.text);			\
	}								\
} while (0)

/* Where the drive cannot reach the exporter, host memory has to do. */
#define BIND_DATA FIXTURE_DATA(bind)
static int bind_anyhow(void *data)
{
	BIND_DATA *self = data;
	int ret;

	if (!strcmp(self->expect, "refused"))
		self->opts.flags = P2PBUF_ALLOW_SYSTEM;
	ret = BIND();
	return ret ? ret : p2pbuf_bind_info(self->binding, &self->bound);
}

/* One request, waited for; the CQE's res or -errno. */
static int run_one(struct io_uring *ring, struct p2pbuf_binding *binding,
		   uint32_t direction, uint64_t buf_off, uint64_t len,
		   uint64_t file_off, uint32_t flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int ret;

	ret = direction == P2PBUF_READ ?
		p2pbuf_prep_read(sqe, binding, buf_off, len, file_off, flags) :
		p2pbuf_prep_write(sqe, binding, buf_off, len, file_off, flags);
	if (ret < 0) {
		io_uring_prep_nop(sqe);
		io_uring_submit_and_wait(ring, 1);
		io_uring_wait_cqe(ring, &cqe);
		io_uring_cqe_seen(ring, cqe);
		return ret;
	}
	io_uring_submit_and_wait(ring, 1);
	ret = io_uring_wait_cqe(ring, &cqe);
	if (ret < 0)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);

	return ret;
}

static void fill(unsigned char *bytes, unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < SIZE; i++)
		bytes[i] = (i * 2654435761u + seed) >> 24;
}

TEST_F(bind, path_is_named)
{
	const char *drive;
	int ret = BIND();

	if (!strcmp(self->expect, "refused")) {
		EXPECT_GT(0, ret);
		EXPECT_EQ(-ret, self->error.code);
		EXPECT_TRUE(ptl_is_sentence(&self->error));
		TH_LOG("%s: %s", strerrorname_np(-ret), self->error.text);
		return;
	}
	ASSERT_EQ(0, ret) TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
	EXPECT_STREQ(self->expect, p2pbuf_path_name(self->bound.path.path));
	EXPECT_EQ(self->info.pci, self->bound.path.exporter);
	/* The sentence names both devices. */
	TH_LOG("%s", self->bound.why);
	EXPECT_NE(NULL, strstr(self->bound.why, self->info.device));
	drive = getenv("P2PBUF_NVME_MAIN_PCI");
	if (drive)
		EXPECT_NE(NULL, strstr(self->bound.why, drive));
	EXPECT_STREQ("nvme", self->bound.backend);
	EXPECT_EQ(P2PBUF_READ | P2PBUF_WRITE, self->bound.rights);
	EXPECT_EQ(SIZE, self->bound.length);
	EXPECT_LE(512, self->bound.block_size);
	EXPECT_LE(self->bound.block_size, self->bound.max_io);
	EXPECT_LT(0, self->bound.capacity);
	EXPECT_LE(0, p2pbuf_bind_fd(self->binding));
	/* Nothing of exporter, buffer and binding survives execve(). */
	EXPECT_EQ(self->inherited, ptl_count_inherited());
}

/* A refusal leaves the buffer where it was. */
TEST_F(bind, refusal_leaves_no_trace)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };

	if (strcmp(self->expect, "refused"))
		SKIP(return, "the drive reaches the exporter here");
	fill(self->bytes, 1);
	EXPECT_GT(0, BIND());
	EXPECT_EQ(NULL, self->binding);
	ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM, info.placement);
	fill(self->disk_bytes, 1);
	EXPECT_EQ(0, memcmp(self->bytes, self->disk_bytes, SIZE));
}

TEST_F(bind, vram_only_refused)
{
	struct p2pbuf_alloc_opts opts = {
		.size = sizeof(opts),
		.flags = P2PBUF_VRAM_ONLY,
	};
	struct p2pbuf_buffer *buf;
	int ret;

	if (strcmp(self->expect, "refused"))
		SKIP(return, "the drive reaches the exporter here");
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, &opts, &buf, NULL));
	self->opts.flags = P2PBUF_ALLOW_SYSTEM;
	ret = p2pbuf_bind(&self->ring, buf, self->disk, &self->opts,
			  &self->binding, &self->error);
	EXPECT_GT(0, ret);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	TH_LOG("%s: %s", strerrorname_np(-ret), self->error.text);
	p2pbuf_free(buf);
}

TEST_F(bind, host_memory_only_when_allowed)
{
	struct p2pbuf_buffer *host;
	int fd = ptk_udmabuf(SIZE);

	if (fd < 0)
		SKIP(return, "no udmabuf: %s", strerror(-fd));
	ASSERT_EQ(0, p2pbuf_import(fd, &host, NULL));
	close(fd);
	EXPECT_GT(0, p2pbuf_bind(&self->ring, host, self->disk, NULL,
				 &self->binding, &self->error));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	TH_LOG("%s: %s", strerrorname_np(self->error.code), self->error.text);
	EXPECT_EQ(NULL, self->binding);

	self->opts.flags = P2PBUF_ALLOW_SYSTEM;
	if (!p2pbuf_bind(&self->ring, host, self->disk, &self->opts,
			 &self->binding, &self->error)) {
		ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
		EXPECT_STREQ("system", p2pbuf_path_name(self->bound.path.path));
		EXPECT_EQ(P2PBUF_ALLOW_SYSTEM, self->bound.flags);
		EXPECT_EQ(SIZE, run_one(&self->ring, self->binding, P2PBUF_READ,
					0, SIZE, 0, 0));
		ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
		EXPECT_EQ(SIZE, self->bound.bytes_system);
		EXPECT_EQ(0, self->bound.bytes_peer);
	}
	p2pbuf_free(host);
}

TEST_F(bind, data_arrives)
{
	const uint64_t at = 8 * SIZE, to = 16 * SIZE;
	uint64_t moved;

	if (bind_anyhow(self))
		SKIP(return, "cannot bind here: %s", self->error.text);
	fill(self->disk_bytes, 2);
	ASSERT_EQ(SIZE, pwrite(self->disk, self->disk_bytes, SIZE, at));
	memset(self->bytes, POISON, SIZE);
	ASSERT_EQ(SIZE, run_one(&self->ring, self->binding, P2PBUF_READ, 0,
				SIZE, at, P2PBUF_FLUSH));
	EXPECT_EQ(0, memcmp(self->bytes, self->disk_bytes, SIZE));

	memset(self->disk_bytes, POISON, SIZE);
	ASSERT_EQ(SIZE, pwrite(self->disk, self->disk_bytes, SIZE, to));
	ASSERT_EQ(SIZE, run_one(&self->ring, self->binding, P2PBUF_WRITE, 0,
				SIZE, to, P2PBUF_FUA));
	ASSERT_EQ(SIZE, pread(self->disk, self->disk_bytes, SIZE, to));
	EXPECT_EQ(0, memcmp(self->bytes, self->disk_bytes, SIZE));

	ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
	/* A request may take several commands of the device. */
	EXPECT_LE(1, self->bound.reads);
	EXPECT_LE(1, self->bound.writes);
	EXPECT_EQ(0, self->bound.errors);
	moved = strcmp(self->expect, "refused") ? self->bound.bytes_peer :
						  self->bound.bytes_system;
	EXPECT_EQ(2 * SIZE, moved);
}

/* The buffer's handle may go: the binding holds the memory. */
TEST_F(bind, outlives_the_buffer)
{
	if (bind_anyhow(self))
		SKIP(return, "cannot bind here: %s", self->error.text);
	p2pbuf_free(self->buf);
	self->buf = NULL;
	EXPECT_EQ(SIZE, run_one(&self->ring, self->binding, P2PBUF_READ, 0,
				SIZE, 0, 0));
}

TEST_F(bind, range)
{
	unsigned int i;

	self->opts.offset = 64 * 1024;
	self->opts.length = 128 * 1024;
	if (bind_anyhow(self))
		SKIP(return, "cannot bind here: %s", self->error.text);
	EXPECT_EQ(64 * 1024, self->bound.offset);
	EXPECT_EQ(128 * 1024, self->bound.length);
	fill(self->disk_bytes, 3);
	ASSERT_EQ(SIZE, pwrite(self->disk, self->disk_bytes, SIZE, 0));
	memset(self->bytes, POISON, SIZE);
	/* Offsets count from the range's first byte. */
	EXPECT_EQ(4096, run_one(&self->ring, self->binding, P2PBUF_READ, 8192,
				4096, 0, 0));
	for (i = 0; i < SIZE; i++) {
		unsigned char want = POISON;

		if (i >= 64 * 1024 + 8192 && i < 64 * 1024 + 8192 + 4096)
			want = self->disk_bytes[i - 64 * 1024 - 8192];
		if (self->bytes[i] != want)
			break;
	}
	EXPECT_EQ(SIZE, i);
	EXPECT_EQ(-ERANGE, run_one(&self->ring, self->binding, P2PBUF_READ,
				   128 * 1024, 4096, 0, 0));
}

TEST_F(bind, siblings)
{
	struct p2pbuf_binding *more[64] = { NULL };
	unsigned int i;
	int fds;

	if (bind_anyhow(self))
		SKIP(return, "cannot bind here: %s", self->error.text);
	fds = ptl_count_fds();
	self->opts.sibling = self->binding;
	self->opts.length = 8192;
	for (i = 0; i < 64; i++) {
		self->opts.offset = i * 8192;
		ASSERT_EQ(0, p2pbuf_bind(&self->ring, self->buf, self->disk,
					 &self->opts, &more[i], &self->error))
			TH_LOG("%u: %s", i, self->error.text);
		EXPECT_EQ(p2pbuf_bind_fd(self->binding), p2pbuf_bind_fd(more[i]));
	}
	EXPECT_EQ(fds, ptl_count_fds());
	/* The first may end first. */
	p2pbuf_unbind(self->binding);
	self->binding = NULL;
	fill(self->disk_bytes, 4);
	ASSERT_EQ(SIZE, pwrite(self->disk, self->disk_bytes, SIZE, 0));
	memset(self->bytes, POISON, SIZE);
	for (i = 0; i < 64; i++)
		EXPECT_EQ(8192, run_one(&self->ring, more[i], P2PBUF_READ, 0,
					8192, i * 8192, 0));
	EXPECT_EQ(0, memcmp(self->bytes, self->disk_bytes, 64 * 8192));
	for (i = 0; i < 64; i++)
		p2pbuf_unbind(more[i]);
}

TEST_F(bind, peer_only)
{
	int res;

	if (!strcmp(self->expect, "refused"))
		SKIP(return, "the drive cannot reach the exporter here");
	self->opts.flags = P2PBUF_PEER_ONLY;
	ASSERT_EQ(0, BIND()) TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_move(self->buf, P2PBUF_PLACEMENT_SYSTEM, 0, NULL));
	res = run_one(&self->ring, self->binding, P2PBUF_READ, 0, 4096, 0, 0);
	/* With bounce buffers host memory is out of reach, allowed or not. */
	if (res != -EADDRNOTAVAIL)
		EXPECT_EQ(-EREMOTEIO, res);
	p2pbuf_explain(self->binding, res, &self->error);
	EXPECT_EQ(-res, self->error.code);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, p2pbuf_move(self->buf, P2PBUF_PLACEMENT_VRAM, 0, NULL));
	EXPECT_EQ(4096, run_one(&self->ring, self->binding, P2PBUF_READ, 0,
				4096, 0, 0));
}

/* Bad requests: told so before anything happens, and the SQE untouched. */
TEST_F(bind, prep_judges)
{
	uint32_t block;
	uint64_t end;
	size_t i;

	if (bind_anyhow(self))
		SKIP(return, "cannot bind here: %s", self->error.text);
	block = self->bound.block_size;
	end = self->bound.capacity;
	const struct {
		const char *what;
		int err;
		uint32_t direction;
		uint64_t buf_off, len, file_off;
		uint32_t flags;
	} cases[] = {
		{ "length 0", EINVAL, P2PBUF_READ, 0, 0, 0, 0 },
		{ "odd length", EINVAL, P2PBUF_READ, 0, block + 1, 0, 0 },
		{ "odd disk offset", EINVAL, P2PBUF_READ, 0, block, 1, 0 },
		{ "odd buffer offset", EINVAL, P2PBUF_READ, 2, block, 0, 0 },
		{ "FUA on a read", EINVAL, P2PBUF_READ, 0, block, 0, P2PBUF_FUA },
		{ "FLUSH on a write", EINVAL, P2PBUF_WRITE, 0, block, 0,
		  P2PBUF_FLUSH },
		{ "unknown flag", EINVAL, P2PBUF_READ, 0, block, 0, 1 << 5 },
		{ "past the buffer", ERANGE, P2PBUF_READ, SIZE, block, 0, 0 },
		{ "over the buffer's end", ERANGE, P2PBUF_READ, SIZE - block,
		  2 * block, 0, 0 },
		{ "buffer overflow", ERANGE, P2PBUF_READ, -(uint64_t)block,
		  2 * block, 0, 0 },
		{ "past the disk", ERANGE, P2PBUF_WRITE, 0, block, end, 0 },
		{ "over the disk's end", ERANGE, P2PBUF_WRITE, 0, 2 * block,
		  end - block, 0 },
		{ "disk overflow", ERANGE, P2PBUF_WRITE, 0, 2 * block,
		  -(uint64_t)block, 0 },
		{ "more than a CQE can tell", EMSGSIZE, P2PBUF_READ, 0, 1ull << 31,
		  0, 0 },
		{ "4 GiB and a bit", EMSGSIZE, P2PBUF_READ, 0,
		  (1ull << 32) + block, 0, 0 },
	};

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct io_uring_sqe before;
		int ret;

		memset(&self->sqe, 0xa5, sizeof(self->sqe));
		before = self->sqe;
		if (cases[i].direction == P2PBUF_READ)
			ret = p2pbuf_prep_read(&self->sqe, self->binding,
					       cases[i].buf_off, cases[i].len,
					       cases[i].file_off,
					       cases[i].flags);
		else
			ret = p2pbuf_prep_write(&self->sqe, self->binding,
						cases[i].buf_off, cases[i].len,
						cases[i].file_off,
						cases[i].flags);
		EXPECT_EQ(-cases[i].err, ret) TH_LOG("%s", cases[i].what);
		EXPECT_EQ(0, memcmp(&before, &self->sqe, sizeof(before)));
		EXPECT_REFUSED(cases[i].err,
			       p2pbuf_check(self->binding, cases[i].direction,
					    cases[i].buf_off, cases[i].len,
					    cases[i].file_off, cases[i].flags,
					    &self->error));
	}
	EXPECT_REFUSED(EINVAL, p2pbuf_check(self->binding, 0, 0, block, 0, 0,
					    &self->error));
	EXPECT_REFUSED(EINVAL, p2pbuf_check(self->binding,
					    P2PBUF_READ | P2PBUF_WRITE, 0,
					    block, 0, 0, &self->error));
	/* The last block of each is still inside. */
	EXPECT_EQ(0, p2pbuf_check(self->binding, P2PBUF_WRITE, SIZE - block,
				  block, end - block, P2PBUF_FUA, NULL));
	EXPECT_EQ(block, run_one(&self->ring, self->binding, P2PBUF_READ,
				 SIZE - block, block, end - block, 0));
}

/* One that no drive gives: the kernel does, of a write. */
TEST_F(bind, busy_is_explained)
{
	if (bind_anyhow(self))
		SKIP(return, "cannot bind here: %s", self->error.text);
	p2pbuf_explain(self->binding, -EBUSY, &self->error);
	EXPECT_EQ(EBUSY, self->error.code);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_NE(NULL, strstr(self->error.text, "page cache"));
}

/* What the caller set in the SQE stays. */
TEST_F(bind, prep_leaves_the_rest)
{
	if (bind_anyhow(self))
		SKIP(return, "cannot bind here: %s", self->error.text);
	memset(&self->sqe, 0, sizeof(self->sqe));
	self->sqe.user_data = 0x1122334455667788;
	self->sqe.flags = IOSQE_IO_LINK;
	self->sqe.personality = 3;
	ASSERT_EQ(0, p2pbuf_prep_read(&self->sqe, self->binding, 4096, 8192, 0,
				      0));
	EXPECT_EQ(0x1122334455667788, self->sqe.user_data);
	EXPECT_EQ(IOSQE_IO_LINK, self->sqe.flags);
	EXPECT_EQ(3, self->sqe.personality);
	EXPECT_EQ(p2pbuf_bind_fd(self->binding), self->sqe.fd);
}

TEST_F(bind, rights)
{
	int disk = open(self->drive, O_RDONLY | O_CLOEXEC);

	if (!strcmp(self->expect, "refused"))
		self->opts.flags = P2PBUF_ALLOW_SYSTEM;
	if (p2pbuf_bind(&self->ring, self->buf, disk, &self->opts,
			&self->binding, &self->error)) {
		close(disk);
		SKIP(return, "cannot bind here: %s", self->error.text);
	}
	close(disk);
	ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
	EXPECT_EQ(P2PBUF_READ, self->bound.rights);
	EXPECT_EQ(4096, run_one(&self->ring, self->binding, P2PBUF_READ, 0,
				4096, 0, 0));
	EXPECT_EQ(-EACCES, run_one(&self->ring, self->binding, P2PBUF_WRITE, 0,
				   4096, 0, 0));
	EXPECT_REFUSED(EACCES, p2pbuf_check(self->binding, P2PBUF_WRITE, 0,
					    4096, 0, 0, &self->error));
}

TEST_F(bind, other_files)
{
	struct {
		const char *what;
		int err;
		int fd;
	} cases[] = {
		{ "a regular file", EBADR, -1 },
		{ "a pipe", ESPIPE, -1 },
		{ "a socket", ESOCKTNOSUPPORT, -1 },
		{ "a directory", EISDIR, -1 },
		{ "a character device", ENOTBLK, -1 },
		{ "a closed descriptor", EBADF, -1 },
	};
	int pipes[2], socks[2];
	size_t i;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	cases[0].fd = memfd_create("file", 0);
	cases[1].fd = pipes[0];
	cases[2].fd = socks[0];
	cases[3].fd = open("/", O_RDONLY);
	cases[4].fd = open("/dev/zero", O_RDWR);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		EXPECT_REFUSED(cases[i].err,
			       p2pbuf_bind(&self->ring, self->buf, cases[i].fd,
					   NULL, &self->binding, &self->error));
		EXPECT_EQ(NULL, self->binding);
		if (cases[i].fd < 0)
			continue;
		EXPECT_NE(NULL, strstr(self->error.text, cases[i].what)) {
			TH_LOG("text: '%s'", self->error.text);
		}
		close(cases[i].fd);
	}
	close(pipes[1]);
	close(socks[1]);
}

/* Block devices that are not what pre-mapped I/O needs, each with its word. */
TEST_F(bind, other_disks)
{
	static const struct {
		const char *env;
		int err;
		const char *word;
	} cases[] = {
		{ "P2PBUF_NVME_MULTIPATH", EMLINK, "multipath" },
		{ "P2PBUF_NVME_PI", EOPNOTSUPP, "metadata" },
		{ "P2PBUF_NVME_PROTECTED", EOPNOTSUPP, "metadata" },
		{ "P2PBUF_NVME_ZONED", EMEDIUMTYPE, "zoned" },
	};
	const char *node;
	unsigned int tried = 0;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		node = getenv(cases[i].env);
		if (!node)
			continue;
		tried++;
		fd = open(node, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		EXPECT_REFUSED(cases[i].err,
			       p2pbuf_bind(&self->ring, self->buf, fd, NULL,
					   &self->binding, &self->error));
		EXPECT_NE(NULL, strstr(self->error.text, cases[i].word)) {
			TH_LOG("text: '%s'", self->error.text);
		}
		EXPECT_NE(NULL, strstr(self->error.text, node));
		close(fd);
	}
	if (!tried)
		SKIP(return, "no drive of these kinds here");
}

TEST_F(bind, media_error)
{
	const char *node = getenv("P2PBUF_NVME_ERROR");
	int fd, res;

	if (!node)
		SKIP(return, "no drive with a bad sector here");
	fd = open(node, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, p2pbuf_bind(&self->ring, self->buf, fd, &self->opts,
				 &self->binding, &self->error))
		TH_LOG("%s", self->error.text);
	close(fd);
	res = run_one(&self->ring, self->binding, P2PBUF_READ, 0, 4096,
		      32 << 20, 0);
	EXPECT_GT(0, res);
	p2pbuf_explain(self->binding, res, &self->error);
	EXPECT_EQ(-res, self->error.code);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_NE(NULL, strstr(self->error.text, node));
	TH_LOG("%s: %s", strerrorname_np(-res), self->error.text);
	EXPECT_EQ(4096, run_one(&self->ring, self->binding, P2PBUF_READ, 0,
				4096, 0, 0));
}

TEST_F(bind, opts_refused)
{
	struct {
		struct p2pbuf_bind_opts opts;
		char more[8];
	} longer = { .opts.size = sizeof(longer) };

	self->opts.flags = 1 << 9;
	EXPECT_REFUSED(EINVAL, BIND());
	self->opts.flags = P2PBUF_ALLOW_SYSTEM | P2PBUF_PEER_ONLY;
	EXPECT_REFUSED(EINVAL, BIND());
	self->opts.flags = 0;
	self->opts.slot = 1;
	EXPECT_REFUSED(EINVAL, BIND());
	self->opts.slot = 0;
	self->opts.size = sizeof(self->opts) - 1;
	EXPECT_REFUSED(EINVAL, BIND());
	self->opts.size = sizeof(self->opts);
	longer.more[7] = 1;
	EXPECT_REFUSED(E2BIG, p2pbuf_bind(&self->ring, self->buf, self->disk,
					  &longer.opts, &self->binding,
					  &self->error));
	self->opts.offset = SIZE;
	EXPECT_REFUSED(ERANGE, BIND());
	self->opts.offset = 4096;
	self->opts.length = SIZE;
	EXPECT_REFUSED(ERANGE, BIND());
	self->opts.length = 0;
	self->opts.offset = 512;
	EXPECT_REFUSED(EDOM, BIND());
	EXPECT_EQ(NULL, self->binding);
}

/* It is filled on failure only. */
TEST_F(bind, error_stays_empty)
{
	if (!strcmp(self->expect, "refused"))
		SKIP(return, "the drive cannot reach the exporter here");
	ASSERT_EQ(0, BIND()) TH_LOG("%s", self->error.text);
	EXPECT_EQ(0, self->error.code);
	EXPECT_STREQ("", self->error.text);
	fill(self->disk_bytes, 6);
	ASSERT_EQ(SIZE, pwrite(self->disk, self->disk_bytes, SIZE, 0));
	memset(self->bytes, POISON, SIZE);
	EXPECT_EQ(SIZE - 77, p2pbuf_read_file(self->buf, 76, SIZE - 77,
					      self->disk, 76, self->opts.flags,
					      &self->error));
	EXPECT_EQ(0, memcmp(self->bytes + 76, self->disk_bytes + 76, SIZE - 77));
	EXPECT_EQ(POISON, self->bytes[75]);
	EXPECT_EQ(POISON, self->bytes[SIZE - 1]);
	EXPECT_EQ(0, self->error.code);
	EXPECT_STREQ("", self->error.text);
}

/* A head has several drives, and is not said to have none. */
TEST(list_names_multipath)
{
	const char *node = getenv("P2PBUF_NVME_MULTIPATH");
	char line[512], name[64];
	bool found = false;
	FILE *f;

	if (!node)
		SKIP(return, "no multipath head here");
	snprintf(name, sizeof(name), " %s ", node);
	f = popen("/usr/local/bin/p2pbuf list", "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, name) && strstr(line, "MiB")) {
			found = true;
			EXPECT_EQ(0, strncmp(line, "  multipath  ", 13))
				TH_LOG("%s", line);
		}
	EXPECT_EQ(0, pclose(f));
	EXPECT_TRUE(found);
}

/* Before anything is opened. */
TEST(rdma_padding)
{
	struct p2pbuf_rdma_opts opts = { .size = sizeof(opts), .pad = 1 };
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_rdma *rdma;

	EXPECT_EQ(-EINVAL, p2pbuf_rdma_connect("127.0.0.1", 1, &opts, &rdma,
					       &error));
	EXPECT_NE(NULL, strstr(error.text, "padding"));
	opts.pad = 0;
	opts.size--;
	EXPECT_EQ(-EINVAL, p2pbuf_rdma_connect("127.0.0.1", 1, &opts, &rdma,
					       &error));
}

/* Words for every verdict the kernel can give, with the devices in them. */
TEST(path_words)
{
	struct p2pbuf_path_info path = {
		.importer = 0x00000500,
		.exporter = 0x00000400,
		.exporter_bar = 2,
		.blocker = 0x00000308,
		.blocker_acs = 0x2c,
		.generation = 1,
	};
	struct p2pbuf_error error = { .size = sizeof(error) };
	char small[8];
	int n;

	for (path.path = 0; path.path <= P2PBUF_PATH_REFUSED + 1; path.path++) {
		for (path.reason = 0; path.reason < 13; path.reason++) {
			n = p2pbuf_path_describe(&path, error.text,
						 sizeof(error.text));
			EXPECT_LT(0, n);
			EXPECT_GT(sizeof(error.text), n);
			EXPECT_TRUE(ptl_is_sentence(&error));
			EXPECT_NE(NULL, strstr(error.text, "0000:05:00.0"));
		}
	}
	path.path = P2PBUF_PATH_REFUSED;
	path.reason = P2PBUF_REASON_ACS;
	n = p2pbuf_path_describe(&path, error.text, sizeof(error.text));
	EXPECT_NE(NULL, strstr(error.text, "0000:03:01.0"));
	EXPECT_NE(NULL, strstr(error.text, "ACS RR CR EC"));
	/* As snprintf(): cut off, terminated, the whole length told. */
	EXPECT_EQ(n, p2pbuf_path_describe(&path, small, sizeof(small)));
	EXPECT_EQ(7, strlen(small));

	EXPECT_STREQ("bus", p2pbuf_path_name(P2PBUF_PATH_BUS));
	EXPECT_STREQ("bridge", p2pbuf_path_name(P2PBUF_PATH_BRIDGE));
	EXPECT_STREQ("system", p2pbuf_path_name(P2PBUF_PATH_SYSTEM));
	EXPECT_STREQ("refused", p2pbuf_path_name(P2PBUF_PATH_REFUSED));
	EXPECT_STREQ("none", p2pbuf_path_name(P2PBUF_PATH_NONE));
}

TEST_HARNESS_MAIN
