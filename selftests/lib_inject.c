// SPDX-License-Identifier: GPL-2.0
/*
 * What the library does when the kernel fails in the middle: a ring that takes
 * requests and then reports an error, one that takes fewer than it is given,
 * memory that cannot be mapped to flush it.
 *
 * The program's own io_uring_submit_and_wait() and mmap() come before
 * liburing's and libc's, for the library as well. They do what those do, until
 * they are told to fail.
 */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <liburing.h>

#include "p2pbuf_test_lib.h"
#include "p2pbuf_test_file.h"
#include "kselftest_harness.h"

#define SIZE	(16 * PTF_MIB)
#define POISON	PTF_POISON

/*
 * Of the next call that has as many requests to submit as this, or more
 * (0: of none):
 * @taken: that many of them are submitted
 * @error: and this is what it says; 0: how many it took
 * @no_flush: no single page can be mapped for reading
 */
static struct {
	unsigned int requests;
	unsigned int taken;
	int error;
	bool no_flush;
} inject;

/* The first @n of what is prepared, waited for if it @waits. */
static int submit_some(struct io_uring *ring, unsigned int n, bool waits)
{
	ring->sq.sqe_head = ring->sq.sqe_tail;
	io_uring_smp_store_release(ring->sq.ktail, ring->sq.sqe_tail);
	if (!n)
		return 0;
	return syscall(__NR_io_uring_enter, ring->ring_fd, n, waits ? n : 0,
		       waits ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned int wait_nr)
{
	static int (*next)(struct io_uring *ring, unsigned int wait_nr);
	int ret;

	if (!next)
		next = dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
	if (!inject.requests || io_uring_sq_ready(ring) < inject.requests)
		return next(ring, wait_nr);
	inject.requests = 0;
	ret = submit_some(ring, inject.taken, !inject.error);
	return inject.error ? -inject.error : ret;
}

void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (inject.no_flush && prot == PROT_READ && length == 4096 && fd >= 0) {
		errno = ENODEV;
		return MAP_FAILED;
	}
	return (void *)syscall(__NR_mmap, addr, length, prot, flags, fd, offset);
}

static struct ptf_stage stage;

FIXTURE(inject)
{
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_error error;
	unsigned char *vram;
	unsigned char *host;
	int fd;
};

FIXTURE_SETUP(inject)
{
	char path[128];

	memset(self, 0, sizeof(*self));
	self->error.size = sizeof(self->error);
	if (!stage.is_paged)
		SKIP(return, "no paged exporter");
	if (!stage.at[PTF_EXT4][0])
		SKIP(return, "%s", stage.missing[PTF_EXT4]);
	ASSERT_EQ(0, p2pbuf_exporter_open(stage.region.name, &self->exporter,
					  &self->error));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, SIZE, NULL, &self->buf, NULL));
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&self->vram));
	snprintf(path, sizeof(path), "%s/inject", stage.at[PTF_EXT4]);
	self->fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	ASSERT_LE(0, self->fd);
	self->host = aligned_alloc(4096, SIZE);
	ASSERT_NE(NULL, self->host);
	ptf_fill(self->host, SIZE, 12);
	ASSERT_EQ(SIZE, ptf_host_io(self->fd, true, self->host, SIZE, 0));
}

FIXTURE_TEARDOWN(inject)
{
	memset(&inject, 0, sizeof(inject));
	EXPECT_EQ(0, ptf_pins_in_the_end(self->buf));
	p2pbuf_unmap(self->vram, SIZE);
	p2pbuf_free(self->buf);
	p2pbuf_exporter_close(self->exporter);
	close(self->fd);
	free(self->host);
}

#define READ(n) p2pbuf_read_file(self->buf, 0, (n), self->fd, 0, 0, &self->error)

/*
 * A read that fails is over when it returns: nothing of it is written to the
 * buffer later, whether all of its requests were on their way, some, or none.
 */
TEST_F(inject, failed_read_is_over)
{
	static const unsigned int taken[] = { 16, 5, 0 };
	unsigned int i;

	for (i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		inject.requests = 16;
		inject.taken = taken[i];
		inject.error = EAGAIN;
		self->error.text[0] = '\0';
		EXPECT_EQ(-EAGAIN, READ(SIZE));
		memset(self->vram, POISON, SIZE);
		EXPECT_EQ(0, inject.requests);
		EXPECT_EQ(EAGAIN, self->error.code);
		EXPECT_TRUE(ptl_is_sentence(&self->error));
		usleep(300000);
		EXPECT_TRUE(ptf_is_all(self->vram, SIZE, POISON))
			TH_LOG("%u were taken", taken[i]);
		EXPECT_EQ(SIZE, READ(SIZE)) TH_LOG("%s", self->error.text);
		EXPECT_EQ(0, memcmp(self->vram, self->host, SIZE));
	}
}

/* Fewer than it was given is no error: the others follow. */
TEST_F(inject, read_in_parts)
{
	inject.requests = 16;
	inject.taken = 3;
	memset(self->vram, POISON, SIZE);
	EXPECT_EQ(SIZE, READ(SIZE)) TH_LOG("%s", self->error.text);
	EXPECT_EQ(0, inject.requests);
	EXPECT_EQ(0, memcmp(self->vram, self->host, SIZE));
}

/* The slots are looked at by requests, too; not all of them may be taken. */
TEST_F(inject, slots_cannot_be_looked_at)
{
	struct p2pbuf_binding *binding = NULL, *other = NULL;
	struct io_uring ring;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, p2pbuf_bind(&ring, self->buf, self->fd, NULL, &binding,
				 &self->error));
	inject.requests = 16;
	inject.taken = 8;
	EXPECT_EQ(-EAGAIN, p2pbuf_bind(&ring, self->buf, self->fd, NULL, &other,
				       &self->error));
	EXPECT_EQ(0, inject.requests);
	EXPECT_EQ(NULL, other);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_EQ(0, p2pbuf_bind(&ring, self->buf, self->fd, NULL, &other,
				 &self->error));
	p2pbuf_unbind(other);
	p2pbuf_unbind(binding);
	io_uring_queue_exit(&ring);
}

/* What cannot be flushed is not said to be visible. */
TEST_F(inject, unflushed_read_fails)
{
	inject.no_flush = true;
	EXPECT_EQ(-ENODEV, READ(SIZE));
	EXPECT_EQ(ENODEV, self->error.code);
	EXPECT_NE(NULL, strstr(self->error.text, "not flushed"));
	TH_LOG("%s", self->error.text);
	inject.no_flush = false;
	EXPECT_EQ(SIZE, READ(SIZE));
}

/* A raw drive's requests flush by themselves: no mapping is asked for. */
TEST_F(inject, raw_read_flushes_itself)
{
	const char *drive = getenv("P2PBUF_NVME_MAIN");
	int fd;

	ASSERT_NE(NULL, drive);
	fd = open(drive, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, fd);
	inject.no_flush = true;
	memset(self->vram, POISON, PTF_MIB);
	EXPECT_EQ(PTF_MIB, p2pbuf_read_file(self->buf, 0, PTF_MIB, fd, 0, 0,
					    &self->error))
		TH_LOG("%s", self->error.text);
	inject.no_flush = false;
	ASSERT_EQ(PTF_MIB, ptf_host_io(fd, false, self->host, PTF_MIB, 0));
	EXPECT_EQ(0, memcmp(self->vram, self->host, PTF_MIB));
	close(fd);
}

/* The harness ends the program by exit(), its cases by _exit(). */
static void unmake(void)
{
	ptf_stage_unmake(&stage);
}

int main(int argc, char **argv)
{
	atexit(unmake);
	ptf_stage_make(&stage, 1u << PTF_EXT4);
	ptk_scale_limits();
	return test_harness_run(argc, argv);
}
