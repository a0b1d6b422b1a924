// SPDX-License-Identifier: GPL-2.0
/*
 * Bindings to files and volumes: ext4, XFS, md RAID-0, dm-linear, and a
 * disk that cannot do peer to peer. Every size and both directions byte for
 * byte, neighbours in host memory, ranges of any alignment through
 * p2pbuf_read_file(), and what happens at holes and at a file's end.
 *
 * Where the drive cannot reach the exporter the same tests look for the
 * refusal, and then go on in host memory.
 */

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <liburing.h>

#include "p2pbuf_test_lib.h"
#include "p2pbuf_test_file.h"
#include "p2pbuf_test_nobody.h"
#include "kselftest_harness.h"

#define SIZE	(64 * PTF_MIB)
#define POISON	PTF_POISON
#define COPY_LOG "/tmp/copy.log"

static struct ptf_stage stage;

FIXTURE(file)
{
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_binding *binding;
	struct p2pbuf_bind_opts opts;
	struct p2pbuf_bind_info bound;
	struct p2pbuf_error error;
	struct io_uring ring;
	const char *expect;
	unsigned char *vram;
	unsigned char *host;
	uint64_t size;
	int fd;
	int fds;
};

#define FILE_DATA FIXTURE_DATA(file)

FIXTURE_VARIANT(file)
{
	enum ptf_place place;
	const char *name;
};

FIXTURE_VARIANT_ADD(file, ext4) { .place = PTF_EXT4, .name = "ext4" };
FIXTURE_VARIANT_ADD(file, xfs) { .place = PTF_XFS, .name = "xfs" };
FIXTURE_VARIANT_ADD(file, raid0) { .place = PTF_RAID0, .name = "raid0" };
FIXTURE_VARIANT_ADD(file, linear) { .place = PTF_LINEAR, .name = "linear" };
FIXTURE_VARIANT_ADD(file, loop) { .place = PTF_LOOP, .name = "loop" };

static bool is_volume(enum ptf_place place)
{
	return place == PTF_RAID0 || place == PTF_LINEAR;
}

static bool only_these(const FILE_DATA *self, uint64_t from, const void *bytes,
		       uint64_t n)
{
	return ptf_only_these(self->vram, SIZE, from, bytes, n);
}

static void poison(FILE_DATA *self, uint64_t from, uint64_t n)
{
	ptf_poison(self->vram, SIZE, from, n);
}

FIXTURE_SETUP(file)
{
	char path[128];

	self->error.size = sizeof(self->error);
	self->opts.size = sizeof(self->opts);
	self->bound.size = sizeof(self->bound);
	self->expect = getenv("P2PBUF_EXPECT_PATH");
	if (!self->expect || !stage.is_paged)
		SKIP(return, "no paged exporter");
	if (!stage.at[variant->place][0])
		SKIP(return, "%s", stage.missing[variant->place]);

	self->fds = ptl_count_fds();
	if (is_volume(variant->place)) {
		snprintf(path, sizeof(path), "%s", stage.at[variant->place]);
		self->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	} else {
		snprintf(path, sizeof(path), "%s/weights",
			 stage.at[variant->place]);
		unlink(path);
		self->fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, fcntl(self->fd, F_SETFL, O_DIRECT));
	}
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, p2pbuf_exporter_open(stage.region.name, &self->exporter,
					  &self->error))
		TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&self->vram));
	self->host = aligned_alloc(4096, SIZE);
	ASSERT_NE(NULL, self->host);
}

FIXTURE_TEARDOWN(file)
{
	if (!self->exporter)
		return;
	p2pbuf_unbind(self->binding);
	/* Nothing of a binding stays behind. */
	EXPECT_EQ(0, ptf_pins_in_the_end(self->buf));
	p2pbuf_unmap(self->vram, SIZE);
	p2pbuf_free(self->buf);
	p2pbuf_exporter_close(self->exporter);
	io_uring_queue_exit(&self->ring);
	close(self->fd);
	free(self->host);
	EXPECT_EQ(self->fds, ptl_count_fds());
}

static int bind_it(FILE_DATA *self)
{
	int ret = p2pbuf_bind(&self->ring, self->buf, self->fd, &self->opts,
			      &self->binding, &self->error);

	return ret ? ret : p2pbuf_bind_info(self->binding, &self->bound);
}

/* The disk is not one that peer to peer works with here. */
static bool is_system(const FILE_DATA *self, enum ptf_place place)
{
	return place == PTF_LOOP || !strcmp(self->expect, "refused");
}

/* What p2pbuf_bind() says of it. */
static int no_way(enum ptf_place place)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");

	if (place == PTF_LOOP)
		return -EPROTOTYPE;
	/* There is one, but the hypervisor's IOMMU swallows what goes it. */
	return topology && !strcmp(topology, "switch-iommu") ? -EFAULT :
							       -EHOSTUNREACH;
}

static int bind_anyhow(FILE_DATA *self, enum ptf_place place)
{
	if (is_system(self, place))
		self->opts.flags |= P2PBUF_ALLOW_SYSTEM;
	return bind_it(self);
}

#define RUN(direction, buf_off, len, file_off, flags) \
	ptf_io(&self->ring, self->binding, direction, buf_off, len, file_off, \
		flags)

#define EXPECT_REFUSED(err, call) do {					\
	self->error.text[0] = '\0';					\
	EXPECT_EQ(-(err), (call));					\
	EXPECT_EQ((err), self->error.code);				\
	EXPECT_TRUE(ptl_is_sentence(&self->error)) {			\
		TH_LOG("text: '%s'", self->error.text);			\
	}								\
} while (0)

TEST_F(file, path_is_named)
{
	int ret = bind_it(self);

	if (is_system(self, variant->place)) {
		ASSERT_GT(0, ret);
		EXPECT_EQ(no_way(variant->place), ret);
		EXPECT_TRUE(ptl_is_sentence(&self->error));
		TH_LOG("%s: %s", strerrorname_np(-ret), self->error.text);
		ASSERT_EQ(0, bind_anyhow(self, variant->place))
			TH_LOG("%s", self->error.text);
		EXPECT_STREQ("system", p2pbuf_path_name(self->bound.path.path));
		EXPECT_EQ(0, self->bound.io_priority);
	} else {
		ASSERT_EQ(0, ret) TH_LOG("%s", self->error.text);
		EXPECT_STREQ(self->expect,
			     p2pbuf_path_name(self->bound.path.path));
		EXPECT_NE(NULL, strstr(self->bound.why, stage.region.name));
		EXPECT_NE(0, self->bound.io_priority);
		EXPECT_EQ(getenv("P2PBUF_NVME_SECOND") &&
			  is_volume(variant->place) ? 2 : 1,
			  self->bound.device_count);
	}
	TH_LOG("%s", self->bound.why);
	EXPECT_STREQ("file", self->bound.backend);
	EXPECT_EQ(P2PBUF_READ | P2PBUF_WRITE, self->bound.rights);
	EXPECT_EQ(SIZE, self->bound.length);
	EXPECT_LE(512, self->bound.block_size);
	EXPECT_LE(1, self->bound.buf_align);
}

/* It is filled on failure only, whichever backend was asked first. */
TEST_F(file, error_stays_empty)
{
	ASSERT_EQ(0, bind_anyhow(self, variant->place))
		TH_LOG("%s", self->error.text);
	self->error.text[0] = '\0';
	self->error.code = 0;
	p2pbuf_unbind(self->binding);
	self->binding = NULL;
	ASSERT_EQ(0, bind_it(self));
	EXPECT_EQ(0, self->error.code);
	EXPECT_STREQ("", self->error.text);
	ptf_fill(self->host, 4096, 4);
	ASSERT_EQ(4096, ptf_host_io(self->fd, true, self->host, 4096, 0));
	EXPECT_EQ(1000, p2pbuf_read_file(self->buf, 0, 1000, self->fd, 0,
					 self->opts.flags, &self->error));
	EXPECT_EQ(0, self->error.code);
	EXPECT_STREQ("", self->error.text);
}

TEST_F(file, both_directions)
{
	ASSERT_EQ(0, bind_anyhow(self, variant->place))
		TH_LOG("%s", self->error.text);
	struct ptf_pair pair = {
		.ring = &self->ring,
		.binding = self->binding,
		.vram = self->vram,
		.host = self->host,
		.size = SIZE,
		.block = self->bound.block_size,
		.align = self->bound.buf_align,
		.fd = self->fd,
	};
	const char *wrong = ptf_both_directions(&pair);

	EXPECT_EQ(NULL, wrong) TH_LOG("%s", wrong);
}

/*
 * The @field-th number of the drives' statistics, summed up: 1 reads, 2 those
 * that were merged into others.
 */
static long drives_stat(int field)
{
	static const char *const drives[] = {
		"P2PBUF_NVME_MAIN", "P2PBUF_NVME_SECOND",
	};
	const char *drive;
	long numbers[2], sum = 0;
	char path[64];
	size_t i;
	FILE *f;

	for (i = 0; i < 2; i++) {
		drive = getenv(drives[i]);
		if (!drive)
			break;
		snprintf(path, sizeof(path), "/sys/block/%s/stat",
			 strrchr(drive, '/') + 1);
		f = fopen(path, "re");
		if (f && fscanf(f, "%ld %ld", &numbers[0], &numbers[1]) == 2)
			sum += numbers[field - 1];
		else
			sum -= 1000;
		if (f)
			fclose(f);
	}
	return sum;
}

/*
 * Adjacent blocks go in turn to VRAM and to host memory, all in one batch: the
 * block layer must not make one request of them, whatever lies above the
 * drives (exporter_merge.c).
 */
TEST_F(file, neighbours_in_host_memory)
{
	const unsigned int n = 32, block = 4096;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned char *other = self->host + PTF_MIB;
	struct io_uring ring;
	unsigned int i, round;
	long before = 0;

	ASSERT_EQ(0, io_uring_queue_init(n, &ring, 0));
	ASSERT_EQ(0, p2pbuf_bind(&ring, self->buf, self->fd,
				 is_system(self, variant->place) ?
				 &(struct p2pbuf_bind_opts) {
					.size = sizeof(struct p2pbuf_bind_opts),
					.flags = P2PBUF_ALLOW_SYSTEM,
				 } : NULL, &self->binding, &self->error))
		TH_LOG("%s", self->error.text);
	ptf_fill(self->host, n * block, 7);
	ASSERT_EQ(n * block, ptf_host_io(self->fd, true, self->host, n * block, 0));
	for (round = 0; round < 2; round++) {
		memset(self->vram, POISON, 2 * n * block);
		memset(other, POISON, n * block);
		/* By the second time a filesystem knows where the file is. */
		before = drives_stat(2);
		for (i = 0; i < n; i++) {
			sqe = io_uring_get_sqe(&ring);
			if ((i & 1) == round) {
				ASSERT_EQ(0, p2pbuf_prep_read(sqe, self->binding,
							      i * block, block,
							      i * block, 0));
			} else {
				io_uring_prep_read(sqe, self->fd,
						   other + i * block, block,
						   i * block);
			}
		}
		ASSERT_EQ(n, io_uring_submit_and_wait(&ring, n));
		for (i = 0; i < n; i++) {
			ASSERT_EQ(0, io_uring_wait_cqe(&ring, &cqe));
			EXPECT_EQ(block, cqe->res);
			io_uring_cqe_seen(&ring, cqe);
		}
		for (i = 0; i < n; i++) {
			unsigned char *here = (i & 1) == round ? self->vram : other;
			unsigned char *there = (i & 1) == round ? other : self->vram;

			EXPECT_EQ(0, memcmp(here + i * block,
					    self->host + i * block, block))
				TH_LOG("round %u, block %u", round, i);
			EXPECT_EQ(POISON, there[i * block]);
			EXPECT_EQ(0, memcmp(there + i * block,
					    there + i * block + 1, block - 1));
		}
	}
	ASSERT_LE(0, before);
	if (!is_system(self, variant->place))
		EXPECT_EQ(before, drives_stat(2));
	p2pbuf_unbind(self->binding);
	self->binding = NULL;
	io_uring_queue_exit(&ring);
}

/* Any range: heads, tails, ranges within one block, over the file's end. */
TEST_F(file, read_file)
{
	static const struct {
		uint64_t len, file_off;
	} cases[] = {
		{ 1, 0 }, { 1, 511 }, { 2, 511 }, { 511, 1 }, { 512, 0 },
		{ 513, 511 }, { 1000, 4092 }, { 4096, 4 }, { 4097, 4095 },
		{ 100000, 12345 }, { (3 << 20) + 7, 77777 },
		{ 1 << 20, (5 << 20) - 100 },
	};
	const uint64_t end = 5 << 20;
	uint32_t flags = 0, align;
	uint64_t len, want, buf_off;
	size_t i;

	ASSERT_EQ(0, bind_anyhow(self, variant->place))
		TH_LOG("%s", self->error.text);
	align = self->bound.buf_align;
	flags = self->opts.flags;
	p2pbuf_unbind(self->binding);
	self->binding = NULL;
	ptf_fill(self->host, end, 3);
	ASSERT_EQ(end, ptf_host_io(self->fd, true, self->host, end, 0));
	if (!is_volume(variant->place)) {
		/* An end inside a block. */
		ASSERT_EQ(0, ftruncate(self->fd, end - 77));
	}

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		len = cases[i].len;
		want = len;
		if (!is_volume(variant->place) &&
		    cases[i].file_off + len > end - 77)
			want = end - 77 - cases[i].file_off;
		if (is_volume(variant->place) && cases[i].file_off + len > end)
			continue;
		/* Off by any multiple of the memory alignment. */
		buf_off = 8192 + (cases[i].file_off & (align - 1)) + 3 * align;
		poison(self, buf_off, len);
		EXPECT_EQ(want, p2pbuf_read_file(self->buf, buf_off, len,
						 self->fd, cases[i].file_off,
						 flags, &self->error))
			TH_LOG("case %zu: %s", i, self->error.text);
		EXPECT_EQ(0, memcmp(self->vram + buf_off,
				    self->host + cases[i].file_off, want))
			TH_LOG("case %zu", i);
		EXPECT_EQ(POISON, self->vram[buf_off - 1]);
		EXPECT_EQ(POISON, self->vram[buf_off + len]);
		if (want == len)
			EXPECT_TRUE(only_these(self, buf_off,
					       self->host + cases[i].file_off,
					       want)) TH_LOG("case %zu", i);
	}
	if (align > 1) {
		EXPECT_REFUSED(EINVAL, p2pbuf_read_file(self->buf, 1, 8192,
							self->fd, 0, flags,
							&self->error));
		EXPECT_NE(NULL, strstr(self->error.text, "multiple"));
	}
	if (!is_volume(variant->place))
		EXPECT_EQ(0, p2pbuf_read_file(self->buf, 0, 4096, self->fd,
					      end + 4096, flags, &self->error));
	EXPECT_REFUSED(ERANGE, p2pbuf_read_file(self->buf, SIZE - 100, 4096,
						self->fd, 0, flags,
						&self->error));
	EXPECT_REFUSED(EINVAL, p2pbuf_read_file(self->buf, 0, 0, self->fd, 0,
						flags, &self->error));
	EXPECT_REFUSED(EINVAL, p2pbuf_read_file(self->buf, 0, 512, self->fd, 0,
						1 << 7, &self->error));
}

/* Unaligned requests are told what is needed. */
TEST_F(file, unaligned)
{
	uint32_t block, align;
	char unit[16];

	ASSERT_EQ(0, bind_anyhow(self, variant->place))
		TH_LOG("%s", self->error.text);
	block = self->bound.block_size;
	align = self->bound.buf_align;
	snprintf(unit, sizeof(unit), "%u", block);
	EXPECT_REFUSED(EINVAL, p2pbuf_check(self->binding, P2PBUF_READ, 0,
					    block / 2, 0, 0, &self->error));
	EXPECT_NE(NULL, strstr(self->error.text, unit));
	EXPECT_REFUSED(EINVAL, p2pbuf_check(self->binding, P2PBUF_WRITE, 0,
					    block, block / 2, 0, &self->error));
	EXPECT_NE(NULL, strstr(self->error.text, unit));
	if (align > 1) {
		snprintf(unit, sizeof(unit), "%u", align);
		EXPECT_REFUSED(EINVAL, p2pbuf_check(self->binding, P2PBUF_READ,
						    align / 2, block, 0, 0,
						    &self->error));
		EXPECT_NE(NULL, strstr(self->error.text, unit));
	}
	EXPECT_REFUSED(EOPNOTSUPP, p2pbuf_check(self->binding, P2PBUF_READ, 0,
						block, 0, P2PBUF_FLUSH,
						&self->error));
	EXPECT_EQ(0, p2pbuf_flush(self->buf));
	EXPECT_EQ(block, RUN(P2PBUF_WRITE, SIZE - block, block, 0, 0));
	EXPECT_EQ(-ERANGE, RUN(P2PBUF_READ, SIZE - block, 2 * block, 0, 0));
}

/* Zeros where nothing was written, and nothing is allocated by reading. */
TEST_F(file, hole)
{
	const uint64_t hole = 2 << 20;
	uint64_t i;

	if (is_volume(variant->place))
		SKIP(return, "a volume has no holes");
	ASSERT_EQ(0, bind_anyhow(self, variant->place));
	ptf_fill(self->host, 65536, 5);
	ASSERT_EQ(65536, ptf_host_io(self->fd, true, self->host, 65536, hole));
	memset(self->vram, POISON, hole + 131072 + 1);
	ASSERT_EQ(hole + 65536, RUN(P2PBUF_READ, 0, hole + 131072, 0, 0));
	for (i = 0; i < hole && !self->vram[i]; i++)
		;
	EXPECT_EQ(hole, i);
	EXPECT_EQ(0, memcmp(self->vram + hole, self->host, 65536));
	/* Behind the end anything may come, but not behind what was asked for. */
	EXPECT_EQ(POISON, self->vram[hole + 131072]);

	/* A write into the hole, and one over the end. */
	ptf_fill(self->vram, 8192, 6);
	ASSERT_EQ(8192, RUN(P2PBUF_WRITE, 0, 8192, 1 << 20, 0));
	ASSERT_EQ(8192, RUN(P2PBUF_WRITE, 0, 8192, hole + (1 << 20), 0));
	ASSERT_EQ(0, p2pbuf_bind_info(self->binding, &self->bound));
	EXPECT_EQ(hole + (1 << 20) + 8192, self->bound.capacity);
	ASSERT_EQ(8192, ptf_host_io(self->fd, false, self->host, 8192, 1 << 20));
	EXPECT_EQ(0, memcmp(self->host, self->vram, 8192));
	ASSERT_EQ(8192, ptf_host_io(self->fd, false, self->host, 8192,
				    hole + (1 << 20)));
	EXPECT_EQ(0, memcmp(self->host, self->vram, 8192));
	/* Between the old end and the new one there are zeros. */
	ASSERT_EQ(4096, ptf_host_io(self->fd, false, self->host, 4096, hole + 65536));
	for (i = 0; i < 4096 && !self->host[i]; i++)
		;
	EXPECT_EQ(4096, i);
}

/* What is the same on every way to the exporter is tried on one. */
static bool is_bus(void)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");

	return topology && !strcmp(topology, "bus");
}

/* `p2pbuf copy` of @length bytes of the file to @to, or nowhere. */
static pid_t copy_start(const char *from, const char *to, const char *length)
{
	const char *const argv[] = {
		"p2pbuf", "copy", "-e", stage.region.name, "-q", "1", "-b",
		"4096", from, to ? to : length, to ? length : NULL, NULL,
	};
	pid_t pid = fork();
	int out;

	if (pid)
		return pid;
	out = open(COPY_LOG, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (out >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    dup2(out, STDERR_FILENO) >= 0)
		execv("/usr/local/bin/p2pbuf", (char *const *)argv);
	_exit(127);
}

static int copy_status(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static bool copy_said(const char *words)
{
	char said[1024] = "";
	FILE *f = fopen(COPY_LOG, "re");
	size_t n = 0;

	if (f) {
		n = fread(said, 1, sizeof(said) - 1, f);
		fclose(f);
	}
	said[n] = '\0';
	return strstr(said, words);
}

/* What a short read leaves in VRAM is not written on. */
TEST_F(file, copy_of_too_little)
{
	const uint64_t n = 65536, half = n / 2;
	char from[128], to[128];
	int fd;

	if (is_volume(variant->place) || variant->place == PTF_LOOP || !is_bus())
		SKIP(return, "not a file that is copied from here");
	snprintf(from, sizeof(from), "%s/weights", stage.at[variant->place]);
	snprintf(to, sizeof(to), "%s/copy", stage.at[variant->place]);
	fd = open(to, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ptf_fill(self->host, 2 * n, 8);
	ASSERT_EQ(half, ptf_host_io(self->fd, true, self->host, half, 0));
	ASSERT_EQ(n, ptf_host_io(fd, true, self->host + n, n, 0));

	EXPECT_EQ(1, copy_status(copy_start(from, to, "64K")));
	EXPECT_TRUE(copy_said("ends too early"));
	EXPECT_TRUE(copy_said(from));
	memset(self->host, POISON, n);
	ASSERT_EQ(n, ptf_host_io(fd, false, self->host, n, 0));
	EXPECT_EQ(0, memcmp(self->host, self->host + n, n));

	EXPECT_EQ(0, copy_status(copy_start(from, to, "32K")));
	ASSERT_EQ(half, ptf_host_io(self->fd, false, self->host, half, 0));
	ASSERT_EQ(half, ptf_host_io(fd, false, self->host + n, half, 0));
	EXPECT_EQ(0, memcmp(self->host, self->host + n, half));
	close(fd);
	unlink(to);
}

/* Where a range is copied onto itself its end would be what was just written. */
TEST_F(file, copy_onto_itself)
{
	static const struct {
		const char *from, *to;
	} overlaps[] = {
		{ ":0", ":32K" }, { ":32K", ":0" }, { ":0", ":0" },
		{ ":4K", ":64K" },
	};
	const uint64_t n = 131072, half = n / 2;
	char from[160], to[160], at[128];
	size_t i;

	if (variant->place == PTF_LOOP || !is_bus())
		SKIP(return, "not a file that is copied from here");
	if (is_volume(variant->place))
		snprintf(at, sizeof(at), "%s", stage.at[variant->place]);
	else
		snprintf(at, sizeof(at), "%s/weights", stage.at[variant->place]);
	ptf_fill(self->host, n, 12);
	ASSERT_EQ(n, ptf_host_io(self->fd, true, self->host, n, 0));
	for (i = 0; i < sizeof(overlaps) / sizeof(overlaps[0]); i++) {
		snprintf(from, sizeof(from), "%s%s", at, overlaps[i].from);
		snprintf(to, sizeof(to), "%s%s", at, overlaps[i].to);
		EXPECT_EQ(1, copy_status(copy_start(from, to, "64K")))
			TH_LOG("case %zu", i);
		EXPECT_TRUE(copy_said("overlap"));
	}
	memset(self->host + n, POISON, n);
	ASSERT_EQ(n, ptf_host_io(self->fd, false, self->host + n, n, 0));
	EXPECT_EQ(0, memcmp(self->host, self->host + n, n));

	/* Beside each other they may lie. */
	snprintf(to, sizeof(to), "%s:64K", at);
	EXPECT_EQ(0, copy_status(copy_start(at, to, "64K")));
	ASSERT_EQ(n, ptf_host_io(self->fd, false, self->host + n, n, 0));
	EXPECT_EQ(0, memcmp(self->host, self->host + n, half));
	EXPECT_EQ(0, memcmp(self->host, self->host + n + half, half));
}

/* As those of /dev/disk/by-path. */
TEST_F(file, copy_of_names_with_colons)
{
	const uint64_t n = 65536, half = n / 2;
	char from[160], to[160], at[128];
	int fd;

	if (variant->place != PTF_EXT4 || !is_bus())
		SKIP(return, "names are the same everywhere");
	snprintf(at, sizeof(at), "%s/pci-0000:04:00.0-nvme-1", stage.at[PTF_EXT4]);
	snprintf(to, sizeof(to), "%s/pci-0000:05:00.0-nvme-1", stage.at[PTF_EXT4]);
	fd = open(at, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ptf_fill(self->host, n, 13);
	ASSERT_EQ(n, ptf_host_io(fd, true, self->host, n, 0));
	close(fd);
	fd = open(to, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	snprintf(from, sizeof(from), "%s:32K", at);
	EXPECT_EQ(0, copy_status(copy_start(from, to, "32K")));
	memset(self->host + n, POISON, n);
	EXPECT_EQ(half, ptf_host_io(fd, false, self->host + n, n, 0));
	EXPECT_EQ(0, memcmp(self->host + half, self->host + n, half));

	/* What is no size is the name's. */
	snprintf(from, sizeof(from), "%s:32Q", at);
	EXPECT_EQ(1, copy_status(copy_start(from, to, "32K")));
	EXPECT_TRUE(copy_said(from));
	close(fd);
	unlink(at);
	unlink(to);
}

/* Have the drives done @n reads more than @before, in a while? */
static bool reads_begin(long before, long n)
{
	unsigned int i;

	for (i = 0; i < 2000; i++) {
		if (drives_stat(1) >= before + n)
			return true;
		usleep(5000);
	}
	return false;
}

/* Ctrl-Z and fg in the middle of it do it no harm. */
TEST_F(file, copy_stopped_meanwhile)
{
	char from[128];
	long before;
	pid_t pid;
	int i;

	if (is_volume(variant->place) || variant->place == PTF_LOOP || !is_bus())
		SKIP(return, "not a file that is copied from here");
	snprintf(from, sizeof(from), "%s/weights", stage.at[variant->place]);
	ptf_fill(self->host, 8 << 20, 2);
	ASSERT_EQ(8 << 20, ptf_host_io(self->fd, true, self->host, 8 << 20, 0));
	before = drives_stat(1);
	pid = copy_start(from, NULL, "8M");
	ASSERT_LE(0, pid);
	EXPECT_TRUE(reads_begin(before, 100));
	for (i = 0; i < 50; i++) {
		kill(pid, SIGSTOP);
		usleep(1000);
		kill(pid, SIGCONT);
		usleep(2000);
	}
	EXPECT_EQ(0, copy_status(pid));
}

struct cutter {
	int fd;
	volatile bool stop;
};

static void *cut(void *data)
{
	struct cutter *cutter = data;

	while (!cutter->stop) {
		if (ftruncate(cutter->fd, 4096 * 3) ||
		    ftruncate(cutter->fd, 4 << 20))
			break;
	}
	return NULL;
}

/* How many of the @n bytes are the file's, or zeros? Up to the first that is not. */
static uint64_t count_sane(const unsigned char *p, const unsigned char *file,
			   uint64_t n)
{
	uint64_t at, k;

	for (at = 0; at < n; at += 4096) {
		k = n - at < 4096 ? n - at : 4096;
		if (!memcmp(p + at, file + at, k) || ptf_is_all(p + at, k, 0))
			continue;
		for (k = at; k < n && (p[k] == file[k] || !p[k]); k++)
			;
		if (k < at + 4096)
			return k;
	}
	return n;
}

/*
 * A file that is cut off and grows again under I/O: each read is short or
 * whole, its bytes are the file's or zeros, and nothing else is written.
 */
TEST_F(file, truncated_meanwhile)
{
	struct cutter cutter = { .fd = self->fd };
	uint64_t n = 4 << 20;
	pthread_t thread;
	int i, ret;

	if (is_volume(variant->place))
		SKIP(return, "a volume is not cut off");
	ASSERT_EQ(0, bind_anyhow(self, variant->place));
	ptf_fill(self->host, n, 9);
	ASSERT_EQ(n, ptf_host_io(self->fd, true, self->host, n, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, cut, &cutter));
	for (i = 0; i < 20; i++) {
		poison(self, 8192, n);
		ret = RUN(P2PBUF_READ, 8192, n, 0, 0);
		EXPECT_LE(4096 * 3, ret) TH_LOG("%s", strerror(-ret));
		EXPECT_EQ(ret, (int)count_sane(self->vram + 8192, self->host,
					       ret > 0 ? ret : 0));
		EXPECT_EQ(POISON, self->vram[8191]);
		EXPECT_EQ(POISON, self->vram[8192 + n]);
	}
	cutter.stop = true;
	pthread_join(thread, NULL);
}

static void merges_path(char *path, size_t size, const char *drive)
{
	snprintf(path, size, "/sys/block/%s/queue/nomerges",
		 strrchr(drive, '/') + 1);
}

/* '0' to '2' */
static int merges_get(const char *path)
{
	char now = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, &now, 1) < 0)
		now = 0;
	close(fd);
	return now;
}

static int bind_a_page(void *arg)
{
	struct p2pbuf_binding *binding = NULL;
	FILE_DATA *self = arg;
	int ret;

	/* Rings of different users share no slots, and his quota is small. */
	self->opts.length = 4096;
	ret = p2pbuf_bind(NULL, self->buf, self->fd, &self->opts, &binding,
			  NULL);
	p2pbuf_unbind(binding);
	return -ret;
}

/* All drives below a volume are kept from merging, or none. */
TEST_F(file, nomerges_on_all_or_none)
{
	const char *const drives[] = {
		getenv("P2PBUF_NVME_MAIN"), getenv("P2PBUF_NVME_SECOND"),
	};
	char paths[2][64];
	int i;

	if (variant->place != PTF_RAID0 || !drives[0] || !drives[1] || !is_bus())
		SKIP(return, "not RAID over two drives");
	for (i = 0; i < 2; i++) {
		merges_path(paths[i], sizeof(paths[i]), drives[i]);
		ASSERT_EQ(0, ptk_write(paths[i], "0"));
	}
	self->opts.flags = P2PBUF_NOMERGES;
	/* Whichever is asked first: he may set one of them, not the other. */
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, chmod(paths[i], 0666));
		EXPECT_EQ(EPERM, pt_child(bind_a_page, self, true));
		EXPECT_EQ('0', merges_get(paths[0]));
		EXPECT_EQ('0', merges_get(paths[1]));
		ASSERT_EQ(0, chmod(paths[i], 0644));
	}
	EXPECT_EQ(0, pt_child(bind_a_page, self, false));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ('2', merges_get(paths[i]));
		ASSERT_EQ(0, ptk_write(paths[i], "0"));
	}
}

/* The harness ends the program by exit(), its cases by _exit(). */
static void unmake(void)
{
	ptf_stage_unmake(&stage);
}

/*
 * Filesystems, volumes and ways to the exporter need not all be tried with each
 * other: all of the former in one topology, ext4 in each, and where requests
 * are mapped by an IOMMU what splits them, too.
 */
static char *bridged[] = { "lib_file", "-v", "ext4", "-v", "raid0", NULL };
static char *others[] = { "lib_file", "-v", "ext4", NULL };

static int run(int argc, char **argv)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");

	if (argc > 1 || !topology || !strcmp(topology, "bus")) {
		ptf_stage_make(&stage, PTF_EVERYWHERE);
		return test_harness_run(argc, argv);
	}
	if (!strcmp(topology, "epyc-iommu")) {
		ptf_stage_make(&stage, 1u << PTF_EXT4 | 1u << PTF_RAID0);
		return test_harness_run(5, bridged);
	}
	ptf_stage_make(&stage, 1u << PTF_EXT4);
	return test_harness_run(3, others);
}

int main(int argc, char **argv)
{
	atexit(unmake);
	ptk_scale_limits();
	return run(argc, argv);
}
