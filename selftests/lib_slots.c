// SPDX-License-Identifier: GPL-2.0
/*
 * Bindings to a file and the rings they are on: rings of every kind, whose SQ
 * and CQ stay as they were, slots of the buffer table, siblings, threads, the
 * order in which things end; and files, buffers and ranges that are refused,
 * each with its reason.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <liburing.h>

#include "p2pbuf_test_lib.h"
#include "p2pbuf_test_file.h"
#include "p2pbuf_test_nobody.h"
#include "kselftest_harness.h"

#define POISON	0x5a
#define TURN	256	/* slots that take turns (src/ring.c) */

static struct ptf_stage stage;

FIXTURE(ring)
{
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_bind_opts opts;
	struct p2pbuf_bind_info bound;
	struct p2pbuf_error error;
	unsigned char *vram;
	unsigned char *host;
	int fd;
	int fds;
	struct p2pbuf_binding *more[80];
};

#define RING_DATA FIXTURE_DATA(ring)

static int open_any(struct p2pbuf_exporter **exporter, struct p2pbuf_buffer **buf,
		    uint32_t *flags, struct p2pbuf_error *error)
{
	const char *expect = getenv("P2PBUF_EXPECT_PATH");
	char path[128];
	int fd;

	*flags = expect && !strcmp(expect, "refused") ? P2PBUF_ALLOW_SYSTEM : 0;
	if (!stage.is_paged || !stage.at[PTF_EXT4][0] ||
	    p2pbuf_exporter_open(stage.region.name, exporter, error))
		return -ENODEV;
	snprintf(path, sizeof(path), "%s/rings", stage.at[PTF_EXT4]);
	fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, 1 << 20))
		fd = -errno;
	return p2pbuf_alloc(*exporter, 1 << 20, NULL, buf, error) ? -ENOMEM : fd;
}

FIXTURE_SETUP(ring)
{
	memset(self, 0, sizeof(*self));
	self->error.size = sizeof(self->error);
	self->opts.size = sizeof(self->opts);
	self->bound.size = sizeof(self->bound);
	self->fds = ptl_count_fds();
	self->fd = open_any(&self->exporter, &self->buf, &self->opts.flags,
			    &self->error);
	if (self->fd < 0)
		SKIP(return, "no paged exporter, or no ext4");
	self->host = aligned_alloc(4096, 1 << 20);
	ASSERT_NE(NULL, self->host);
	ptf_fill(self->host, 1 << 20, 11);
	ASSERT_EQ(1 << 20, ptf_host_io(self->fd, true, self->host, 1 << 20,
				       0));
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&self->vram));
}

FIXTURE_TEARDOWN(ring)
{
	if (self->fd < 0)
		return;
	EXPECT_EQ(0, ptf_pins_in_the_end(self->buf));
	p2pbuf_unmap(self->vram, 1 << 20);
	p2pbuf_free(self->buf);
	p2pbuf_exporter_close(self->exporter);
	close(self->fd);
	free(self->host);
	EXPECT_EQ(self->fds, ptl_count_fds());
}

static int ring_bind(struct io_uring *ring, RING_DATA *file,
		     struct p2pbuf_binding **binding)
{
	int ret = p2pbuf_bind(ring, file->buf, file->fd, &file->opts, binding,
			      &file->error);

	return ret ? ret : p2pbuf_bind_info(*binding, &file->bound);
}

/* Does I/O on it bring the file's bytes? */
static bool ring_works(struct io_uring *ring, RING_DATA *file,
		       struct p2pbuf_binding *binding)
{
	memset(file->vram, POISON, 65536);
	return ptf_io(ring, binding, P2PBUF_READ, 0, 65536, 4096, 0) == 65536 &&
	       !memcmp(file->vram, file->host + 4096, 65536);
}

/* Rings of every kind, and what is on them stays as it was. */
TEST_F(ring, kinds)
{
	static const unsigned int kinds[] = {
		0,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SQPOLL,
		IORING_SETUP_COOP_TASKRUN,
	};
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		ASSERT_EQ(0, io_uring_queue_init(8, &ring, kinds[i]));
		/* An SQE not yet submitted and a CQE not yet reaped. */
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_nop(sqe);
		sqe->user_data = 1;
		io_uring_submit_and_wait(&ring, 1);
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_nop(sqe);
		sqe->user_data = 2;
		ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]))
			TH_LOG("kind %zu: %s", i, self->error.text);
		EXPECT_EQ(1, io_uring_cq_ready(&ring));
		EXPECT_EQ(1, io_uring_sq_ready(&ring));
		io_uring_submit_and_wait(&ring, 2);
		ASSERT_EQ(0, io_uring_wait_cqe(&ring, &cqe));
		EXPECT_EQ(1, cqe->user_data);
		io_uring_cqe_seen(&ring, cqe);
		ASSERT_EQ(0, io_uring_wait_cqe(&ring, &cqe));
		EXPECT_EQ(2, cqe->user_data);
		io_uring_cqe_seen(&ring, cqe);
		EXPECT_TRUE(ring_works(&ring, self, self->more[0]))
			TH_LOG("kind %zu", i);
		p2pbuf_unbind(self->more[0]);
		io_uring_queue_exit(&ring);
	}
}

/* The caller's own table: its buffers stay, empty slots are used. */
TEST_F(ring, slots)
{
	struct iovec iov = { .iov_base = self->host, .iov_len = 4096 };
	struct io_uring ring;
	unsigned int i;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, io_uring_register_buffers_sparse(&ring, 4));
	ASSERT_EQ(1, io_uring_register_buffers_update_tag(&ring, 0, &iov, NULL, 1));
	ASSERT_EQ(1, io_uring_register_buffers_update_tag(&ring, 2, &iov, NULL, 1));
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]))
		TH_LOG("%s", self->error.text);
	EXPECT_EQ(1, self->bound.slot);
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[1]));
	EXPECT_EQ(3, self->bound.slot);
	/* Full: it grows. */
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[2]));
	EXPECT_EQ(4, self->bound.slot);
	for (i = 0; i < 3; i++)
		EXPECT_TRUE(ring_works(&ring, self, self->more[i]));

	/* A slot of the caller's choice. */
	self->opts.flags |= P2PBUF_SLOT;
	self->opts.slot = 2;
	EXPECT_EQ(-EADDRINUSE, ring_bind(&ring, self, &self->more[3]));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	self->opts.slot = 40;
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[3]));
	EXPECT_EQ(40, self->bound.slot);
	EXPECT_TRUE(ring_works(&ring, self, self->more[3]));
	self->opts.slot = 1 << 16;
	EXPECT_EQ(-EINVAL, ring_bind(&ring, self, &self->more[4]));
	self->opts.flags &= ~P2PBUF_SLOT;
	self->opts.slot = 0;

	/* An ended binding gives its slot back, to who asks for it. */
	p2pbuf_unbind(self->more[1]);
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[1]));
	EXPECT_EQ(5, self->bound.slot);
	self->opts.flags |= P2PBUF_SLOT;
	self->opts.slot = 3;
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[4]));
	EXPECT_EQ(3, self->bound.slot);
	for (i = 0; i < 5; i++)
		p2pbuf_unbind(self->more[i]);
	io_uring_queue_exit(&ring);
}

/* A slot that was given back is the last to be taken again. */
TEST_F(ring, slots_take_turns)
{
	struct io_uring ring;
	unsigned int i;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	self->opts.length = 4096;
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]));
	EXPECT_EQ(0, self->bound.slot);
	for (i = 1; i < TURN + 3; i++) {
		ASSERT_EQ(0, ring_bind(&ring, self, &self->more[1]))
			TH_LOG("%u: %s", i, self->error.text);
		/* The first is still taken when its turn comes. */
		ASSERT_EQ(i < TURN ? i : i - TURN + 1, self->bound.slot);
		p2pbuf_unbind(self->more[1]);
	}
	p2pbuf_unbind(self->more[0]);
	io_uring_queue_exit(&ring);
}

/* When those that take turns are all taken the table goes on. */
TEST_F(ring, slots_beyond_the_turns)
{
	struct iovec iovs[TURN];
	struct io_uring ring;
	unsigned int i;

	for (i = 0; i < TURN; i++)
		iovs[i] = (struct iovec){ self->host, 4096 };
	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, io_uring_register_buffers(&ring, iovs, TURN));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ring_bind(&ring, self, &self->more[i]))
			TH_LOG("%u: %s", i, self->error.text);
		EXPECT_EQ(TURN + i, self->bound.slot);
	}
	EXPECT_TRUE(ring_works(&ring, self, self->more[1]));
	/* One of them is given back: before the table grows again. */
	iovs[0] = (struct iovec){ 0 };
	ASSERT_EQ(1, io_uring_register_buffers_update_tag(&ring, 200, iovs, NULL, 1));
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[2]));
	EXPECT_EQ(200, self->bound.slot);
	for (i = 0; i < 3; i++)
		p2pbuf_unbind(self->more[i]);
	io_uring_queue_exit(&ring);
}

/* Many of them on one ring, as siblings; the first may end first. */
TEST_F(ring, siblings)
{
	struct p2pbuf_binding *binding = NULL;
	struct io_uring ring, other;
	unsigned int i;
	int fds;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]));
	fds = ptl_count_fds();
	self->opts.sibling = self->more[0];
	self->opts.length = 8192;
	for (i = 1; i < 80; i++) {
		self->opts.offset = i * 8192;
		ASSERT_EQ(0, ring_bind(&ring, self, &self->more[i]))
			TH_LOG("%u: %s", i, self->error.text);
		EXPECT_EQ(i, self->bound.slot);
	}
	/* Not on another ring, not even one with the same number. */
	ASSERT_EQ(0, io_uring_queue_init(8, &other, 0));
	EXPECT_EQ(-EINVAL, ring_bind(&other, self, &binding));
	EXPECT_EQ(EINVAL, self->error.code);
	EXPECT_NE(NULL, strstr(self->error.text, "another ring"));
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	EXPECT_EQ(NULL, binding);
	io_uring_queue_exit(&other);
	/* Without one it is the sibling's. */
	EXPECT_EQ(0, ring_bind(NULL, self, &binding));
	EXPECT_EQ(80, self->bound.slot);
	EXPECT_EQ(8192, ptf_io(&ring, binding, P2PBUF_READ, 0, 8192, 0, 0));
	p2pbuf_unbind(binding);
	/* One each, for the file. */
	EXPECT_EQ(fds + 79, ptl_count_fds());
	p2pbuf_unbind(self->more[0]);
	memset(self->vram, POISON, 1 << 20);
	for (i = 1; i < 80; i++)
		EXPECT_EQ(8192, ptf_io(&ring, self->more[i], P2PBUF_READ, 0,
				       8192, i * 8192, 0));
	EXPECT_EQ(0, memcmp(self->vram + 8192, self->host + 8192,
			    79 * 8192));
	for (i = 2; i < 80; i++)
		p2pbuf_unbind(self->more[i]);
	io_uring_queue_exit(&ring);
	/* The next ring has the number of that one, which more[1] keeps. */
	ASSERT_EQ(0, io_uring_queue_init(8, &other, 0));
	self->opts.sibling = self->more[1];
	binding = NULL;
	EXPECT_EQ(-EINVAL, ring_bind(&other, self, &binding));
	EXPECT_EQ(NULL, binding);
	p2pbuf_unbind(self->more[1]);
	io_uring_queue_exit(&other);
}

/* The ring may go before the binding, and the binding before its I/O. */
TEST_F(ring, ends_in_any_order)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]));
	io_uring_queue_exit(&ring);
	ASSERT_EQ(0, p2pbuf_query(self->buf, &info));
	EXPECT_EQ(1, info.pins);
	EXPECT_EQ(-EBUSY, p2pbuf_move(self->buf,
				      info.placement == P2PBUF_PLACEMENT_VRAM ?
				      P2PBUF_PLACEMENT_SYSTEM :
				      P2PBUF_PLACEMENT_VRAM, 0,
				      &self->error));
	p2pbuf_unbind(self->more[0]);
	EXPECT_EQ(0, ptf_pins_in_the_end(self->buf));

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]));
	memset(self->vram, POISON, 1 << 20);
	sqe = io_uring_get_sqe(&ring);
	ASSERT_EQ(0, p2pbuf_prep_read(sqe, self->more[0], 0, 1 << 20, 0, 0));
	ASSERT_EQ(1, io_uring_submit(&ring));
	p2pbuf_unbind(self->more[0]);
	ASSERT_EQ(0, io_uring_wait_cqe(&ring, &cqe));
	EXPECT_EQ(1 << 20, cqe->res);
	io_uring_cqe_seen(&ring, cqe);
	EXPECT_EQ(0, memcmp(self->vram, self->host, 1 << 20));
	io_uring_queue_exit(&ring);
}

/*
 * A request that waits for another has neither its file nor its slot when its
 * binding is ended. It must not find those of the next binding.
 */
TEST_F(ring, ends_before_its_request_begins)
{
	const uint64_t n = 65536;
	struct p2pbuf_buffer *other;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	unsigned char *vram;
	int pipes[2], i;
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, p2pbuf_alloc(self->exporter, 1 << 20, NULL, &other, NULL));
	ASSERT_EQ(0, p2pbuf_map(other, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&vram));
	memset(vram, POISON, 1 << 20);
	memset(self->vram, POISON, 1 << 20);
	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]));
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, pipes[0], &byte, 1, 0);
	sqe->user_data = 0;
	sqe->flags = IOSQE_IO_LINK;
	sqe = io_uring_get_sqe(&ring);
	ASSERT_EQ(0, p2pbuf_prep_read(sqe, self->more[0], 0, n, 0, 0));
	sqe->user_data = 1;
	ASSERT_EQ(2, io_uring_submit(&ring));

	p2pbuf_unbind(self->more[0]);
	ASSERT_EQ(0, p2pbuf_bind(&ring, other, self->fd, &self->opts,
				 &self->more[1], &self->error))
		TH_LOG("%s", self->error.text);
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, io_uring_wait_cqe(&ring, &cqe));
		EXPECT_EQ(i, cqe->user_data);
		/* The descriptor's number is the next binding's, the slot not. */
		EXPECT_EQ(i ? -EFAULT : 1, cqe->res);
		io_uring_cqe_seen(&ring, cqe);
	}
	EXPECT_TRUE(ptf_is_all(vram, 1 << 20, POISON));
	EXPECT_TRUE(ptf_is_all(self->vram, 1 << 20, POISON));
	EXPECT_EQ(n, ptf_io(&ring, self->more[1], P2PBUF_READ, 0, n, 0, 0));
	EXPECT_EQ(0, memcmp(vram, self->host, n));
	p2pbuf_unbind(self->more[1]);
	io_uring_queue_exit(&ring);
	EXPECT_EQ(0, ptf_pins_in_the_end(other));
	p2pbuf_unmap(vram, 1 << 20);
	p2pbuf_free(other);
	close(pipes[0]);
	close(pipes[1]);
}

/* No ring: to see the path, and for p2pbuf_read_file(). */
TEST_F(ring, none)
{
	ASSERT_EQ(0, ring_bind(NULL, self, &self->more[0]))
		TH_LOG("%s", self->error.text);
	TH_LOG("%s", self->bound.why);
	self->opts.sibling = self->more[0];
	ASSERT_EQ(0, ring_bind(NULL, self, &self->more[1]));
	p2pbuf_unbind(self->more[0]);
	p2pbuf_unbind(self->more[1]);
}

/* For who knows only pointers: the mapping is a buffer for direct I/O. */
TEST_F(ring, by_pointer)
{
	static const uint32_t places[] = {
		P2PBUF_PLACEMENT_VRAM, P2PBUF_PLACEMENT_SYSTEM,
	};
	RING_DATA *file = self;
	uint64_t n = 1 << 20;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, p2pbuf_move(file->buf, places[i], 0, NULL));
		memset(file->vram, POISON, n);
		if (!i && file->opts.flags & P2PBUF_ALLOW_SYSTEM) {
			/* Not by host memory instead. */
			EXPECT_EQ(-EINVAL, ptf_host_io(file->fd, false,
						       file->vram, n, 0));
			EXPECT_TRUE(ptf_is_all(file->vram, n, POISON));
			continue;
		}
		EXPECT_EQ(n, ptf_host_io(file->fd, false, file->vram, n, 0));
		EXPECT_EQ(0, memcmp(file->vram, file->host, n));
		ptf_fill(file->vram, n, 20 + i);
		EXPECT_EQ(n, ptf_host_io(file->fd, true, file->vram, n, 0));
		memset(file->host, POISON, n);
		EXPECT_EQ(n, ptf_host_io(file->fd, false, file->host, n, 0));
		EXPECT_EQ(0, memcmp(file->vram, file->host, n));
	}
}

struct racer {
	struct io_uring *ring;
	RING_DATA *file;
	struct p2pbuf_binding *bindings[16];
	uint32_t slots[16];
	int failed;
	uint64_t seen;
};

static void *race(void *data)
{
	struct p2pbuf_bind_info bound = { .size = sizeof(bound) };
	struct racer *racer = data;
	int i;

	for (i = 0; i < 16; i++) {
		racer->failed |= p2pbuf_bind(racer->ring, racer->file->buf,
					     racer->file->fd, &racer->file->opts,
					     &racer->bindings[i], NULL);
		if (racer->failed)
			break;
		p2pbuf_bind_info(racer->bindings[i], &bound);
		racer->slots[i] = bound.slot;
		racer->seen |= 1ull << bound.slot;
	}
	return NULL;
}

/* Threads that bind on one ring get slots of their own. */
TEST_F(ring, threads)
{
	struct racer racers[3];
	pthread_t threads[3];
	struct io_uring ring;
	uint64_t seen = 0;
	int i, k;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	for (i = 0; i < 3; i++) {
		racers[i] = (struct racer){ .ring = &ring, .file = self };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race, &racers[i]));
	}
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, racers[i].failed);
		EXPECT_EQ(0, seen & racers[i].seen);
		seen |= racers[i].seen;
	}
	EXPECT_EQ((1ull << 48) - 1, seen);
	for (i = 0; i < 3; i++)
		for (k = 0; k < 16; k++)
			p2pbuf_unbind(racers[i].bindings[k]);
	io_uring_queue_exit(&ring);
}

struct stranger {
	struct io_uring *ring;
	RING_DATA *file;
	int ret;
};

static void *bind_as_stranger(void *data)
{
	struct p2pbuf_binding *binding = NULL;
	struct stranger *stranger = data;

	stranger->ret = ring_bind(stranger->ring, stranger->file, &binding);
	return NULL;
}

TEST_F(ring, of_another_thread)
{
	struct io_uring ring;
	struct stranger stranger = { .ring = &ring, .file = self };
	pthread_t thread;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, IORING_SETUP_SINGLE_ISSUER |
					 IORING_SETUP_DEFER_TASKRUN));
	ASSERT_EQ(0, pthread_create(&thread, NULL, bind_as_stranger, &stranger));
	pthread_join(thread, NULL);
	EXPECT_EQ(-EXDEV, stranger.ret);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
	TH_LOG("%s", self->error.text);
	io_uring_queue_exit(&ring);
}

struct early {
	struct io_uring *ring;
	RING_DATA *file;
};

static int bind_early(void *arg)
{
	struct p2pbuf_binding *binding = NULL;
	struct early *early = arg;
	struct p2pbuf_error *error = &early->file->error;
	int ret;

	ret = ring_bind(early->ring, early->file, &binding);
	p2pbuf_unbind(binding);
	if (ret != -EXDEV || strstr(error->text, "CAP_IPC_LOCK"))
		return -ret;
	fprintf(stderr, "%s\n", error->text);
	return 0;
}

/* A ring that was made before its process changed, or by another one. */
TEST_F(ring, of_another_process)
{
	struct early early = { .file = self };
	struct io_uring ring;

	if (self->opts.flags & P2PBUF_ALLOW_SYSTEM)
		SKIP(return, "it says nothing of places: seen where VRAM is reached");
	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	early.ring = &ring;
	self->opts.length = 4096;
	EXPECT_EQ(EXDEV, pt_child(bind_early, &early, false));
	EXPECT_EQ(EXDEV, pt_child(bind_early, &early, true));
	/* A ring that nobody makes himself he can use. */
	early.ring = NULL;
	EXPECT_EQ(0, pt_child(bind_early, &early, true));
	/* With slots in it the look at them fails in the same way. */
	ASSERT_EQ(0, io_uring_register_buffers_sparse(&ring, 4));
	early.ring = &ring;
	EXPECT_EQ(EXDEV, pt_child(bind_early, &early, false));
	ASSERT_EQ(0, ring_bind(&ring, self, &self->more[0]))
		TH_LOG("%s", self->error.text);
	p2pbuf_unbind(self->more[0]);
	io_uring_queue_exit(&ring);
}

/* ---- refusals ---- */

TEST_F(ring, other_files)
{
	RING_DATA *file = self;
	struct {
		const char *what;
		int err;
		int fd;
	} cases[] = {
		{ "O_DIRECT", EBADR, -1 },
		{ "a pipe", ESPIPE, -1 },
		{ "a socket", ESOCKTNOSUPPORT, -1 },
		{ "a directory", EISDIR, -1 },
		{ "a character device", ENOTBLK, -1 },
		{ "filesystem", EMEDIUMTYPE, -1 },
		{ "O_APPEND", EINVAL, -1 },
	};
	struct p2pbuf_binding *binding = NULL;
	struct io_uring ring;
	int pipes[2], socks[2];
	char path[128];
	size_t i;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	snprintf(path, sizeof(path), "%s/rings", stage.at[PTF_EXT4]);
	cases[0].fd = open(path, O_RDWR | O_CLOEXEC);
	cases[1].fd = pipes[0];
	cases[2].fd = socks[0];
	cases[3].fd = open("/", O_RDONLY);
	cases[4].fd = open("/dev/zero", O_RDWR);
	cases[5].fd = open("/tmp", O_TMPFILE | O_RDWR | O_DIRECT, 0600);
	cases[6].fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT | O_APPEND);
	file->opts.flags = 0;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].fd < 0) {
			TH_LOG("not here: %s", cases[i].what);
			continue;
		}
		file->error.text[0] = '\0';
		EXPECT_EQ(-cases[i].err, p2pbuf_bind(&ring, file->buf, cases[i].fd,
						     &file->opts, &binding,
						     &file->error));
		EXPECT_TRUE(ptl_is_sentence(&file->error));
		EXPECT_NE(NULL, strstr(file->error.text, cases[i].what)) {
			TH_LOG("text: '%s'", file->error.text);
		}
		EXPECT_EQ(NULL, binding);
		close(cases[i].fd);
	}
	close(pipes[1]);
	close(socks[1]);
	io_uring_queue_exit(&ring);
}

TEST_F(ring, other_buffers)
{
	RING_DATA *file = self;
	struct p2pbuf_binding *binding = NULL;
	struct p2pbuf_exporter *plain;
	struct p2pbuf_buffer *buf;
	struct ptr_region other;
	struct io_uring ring;
	int fd;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	/* Not known whose it is. */
	fd = p2pbuf_export_fd(file->buf);
	ASSERT_EQ(0, p2pbuf_import(fd, &buf, NULL));
	close(fd);
	EXPECT_EQ(-EREMOTE, p2pbuf_bind(&ring, buf, file->fd, &file->opts,
					&binding, &file->error));
	EXPECT_NE(NULL, strstr(file->error.text, "p2pbuf_set_exporter"));
	ASSERT_EQ(0, p2pbuf_set_exporter(buf, file->exporter, NULL));
	EXPECT_EQ(0, p2pbuf_bind(&ring, buf, file->fd, &file->opts, &binding,
				 &file->error));
	p2pbuf_unbind(binding);
	binding = NULL;
	p2pbuf_free(buf);

	/* Without pages; another region is, unless the first is all there is. */
	if (!ptr_find(0, &other) && other.pci == stage.region.pci &&
	    ptr_find(1, &other)) {
		TH_LOG("no second exporter");
	} else {
		ASSERT_EQ(0, p2pbuf_exporter_open(other.name, &plain, NULL));
		ASSERT_EQ(0, p2pbuf_alloc(plain, 8192, NULL, &buf, NULL));
		EXPECT_EQ(-EOPNOTSUPP, p2pbuf_bind(&ring, buf, file->fd,
						   &file->opts, &binding,
						   &file->error));
		EXPECT_NE(NULL, strstr(file->error.text, "paged"));
		EXPECT_NE(NULL, strstr(file->error.text, other.name));
		p2pbuf_free(buf);
		p2pbuf_exporter_close(plain);
	}
	EXPECT_EQ(NULL, binding);

	/* Ranges. */
	file->opts.offset = 512;
	EXPECT_EQ(-EDOM, ring_bind(&ring, file, &binding));
	file->opts.offset = 1 << 20;
	EXPECT_EQ(-ERANGE, ring_bind(&ring, file, &binding));
	file->opts.offset = 4096;
	file->opts.length = 1 << 20;
	EXPECT_EQ(-ERANGE, ring_bind(&ring, file, &binding));
	EXPECT_EQ(NULL, binding);
	io_uring_queue_exit(&ring);
}

/* Rights follow the two descriptors. */
TEST_F(ring, rights)
{
	RING_DATA *file = self;
	struct p2pbuf_binding *binding = NULL;
	struct io_uring ring;
	char path[128];
	int fd;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	snprintf(path, sizeof(path), "%s/rings", stage.at[PTF_EXT4]);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ASSERT_EQ(0, p2pbuf_bind(&ring, file->buf, fd, &file->opts, &binding,
				 &file->error)) TH_LOG("%s", file->error.text);
	ASSERT_EQ(0, p2pbuf_bind_info(binding, &file->bound));
	EXPECT_EQ(P2PBUF_READ, file->bound.rights);
	EXPECT_EQ(4096, ptf_io(&ring, binding, P2PBUF_READ, 0, 4096, 0, 0));
	EXPECT_EQ(-EACCES, p2pbuf_check(binding, P2PBUF_WRITE, 0, 4096, 0, 0,
					&file->error));
	p2pbuf_unbind(binding);
	close(fd);
	io_uring_queue_exit(&ring);
}

/* The setting is that of the drive below the partition that holds the file. */
static int nomerges_path(char *path, size_t size)
{
	const char *main = getenv("P2PBUF_NVME_MAIN");

	if (!main)
		return -ENODEV;
	snprintf(path, size, "/sys/block/%s/queue/nomerges",
		 strrchr(main, '/') + 1);
	return 0;
}

static int bind_as_nobody(void *arg)
{
	struct p2pbuf_binding *binding = NULL;
	RING_DATA *file = arg;
	int ret = ring_bind(NULL, file, &binding);

	p2pbuf_unbind(binding);
	return -ret;
}

/* The belt: disks that merge nothing, for who may ask for it. */
TEST_F(ring, nomerges)
{
	RING_DATA *file = self;
	struct p2pbuf_binding *binding = NULL;
	char path[128];

	if (file->opts.flags & P2PBUF_ALLOW_SYSTEM)
		SKIP(return, "nothing to be merged with VRAM here");
	ASSERT_EQ(0, nomerges_path(path, sizeof(path)));
	ASSERT_EQ(0, ptk_write(path, "0"));
	ASSERT_EQ(0, ring_bind(NULL, file, &binding));
	EXPECT_EQ(0, file->bound.flags);
	p2pbuf_unbind(binding);

	file->opts.flags |= P2PBUF_NOMERGES;
	EXPECT_EQ(EPERM, pt_child(bind_as_nobody, file, true));
	ASSERT_EQ(0, ring_bind(NULL, file, &binding))
		TH_LOG("%s", file->error.text);
	EXPECT_EQ(P2PBUF_NOMERGES, file->bound.flags);
	/* As it is now, not as it was. */
	ASSERT_EQ(0, ptk_write(path, "1"));
	ASSERT_EQ(0, p2pbuf_bind_info(binding, &file->bound));
	EXPECT_EQ(0, file->bound.flags);
	ASSERT_EQ(0, ptk_write(path, "2"));
	ASSERT_EQ(0, p2pbuf_bind_info(binding, &file->bound));
	EXPECT_EQ(P2PBUF_NOMERGES, file->bound.flags);
	p2pbuf_unbind(binding);

	/* Nobody has to set what is set. */
	EXPECT_EQ(0, pt_child(bind_as_nobody, file, true));
	ASSERT_EQ(0, ptk_write(path, "0"));
}

static int nomerges_get(const char *path)
{
	char now = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, &now, 1) < 0)
		now = 0;
	close(fd);
	return now;
}

/* Refused for the drive's sake; then what that took is there again. */
static int bind_twice(void *arg)
{
	struct p2pbuf_binding *binding = NULL;
	RING_DATA *file = arg;
	struct io_uring ring;

	if (io_uring_queue_init(8, &ring, 0))
		return 1;
	file->opts.length = 4096;
	file->opts.flags = P2PBUF_NOMERGES | P2PBUF_SLOT;
	if (ring_bind(&ring, file, &binding) != -EPERM || binding)
		return 2;
	file->opts.flags = P2PBUF_SLOT;
	if (ring_bind(&ring, file, &binding))
		return 3;
	p2pbuf_unbind(binding);
	return 0;
}

/* Who is refused has changed nothing: not the drive, the ring, the buffer. */
TEST_F(ring, nomerges_refused)
{
	RING_DATA *file = self;
	struct p2pbuf_binding *binding = NULL;
	struct iovec iov = { .iov_base = file->host, .iov_len = 4096 };
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct io_uring ring;
	char path[128];

	if (file->opts.flags & P2PBUF_ALLOW_SYSTEM)
		SKIP(return, "nothing to be merged with VRAM here");
	ASSERT_EQ(0, nomerges_path(path, sizeof(path)));
	ASSERT_EQ(0, ptk_write(path, "0"));
	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	ASSERT_EQ(0, io_uring_register_buffers_sparse(&ring, 4));
	ASSERT_EQ(1, io_uring_register_buffers_update_tag(&ring, 1, &iov, NULL, 1));

	file->opts.flags = P2PBUF_NOMERGES | P2PBUF_SLOT;
	file->opts.slot = 1;
	EXPECT_EQ(-EADDRINUSE, ring_bind(&ring, file, &binding));
	EXPECT_EQ('0', nomerges_get(path));

	io_uring_queue_exit(&ring);

	file->opts.slot = 0;
	EXPECT_EQ(0, pt_child(bind_twice, file, true));
	EXPECT_EQ('0', nomerges_get(path));

	ASSERT_EQ(0, p2pbuf_move(file->buf, P2PBUF_PLACEMENT_SYSTEM, 0, NULL));
	file->opts.flags = P2PBUF_NOMERGES;
	EXPECT_EQ(EPERM, pt_child(bind_as_nobody, file, true));
	EXPECT_EQ(0, ptf_pins_in_the_end(file->buf));
	ASSERT_EQ(0, p2pbuf_query(file->buf, &info));
	EXPECT_EQ(P2PBUF_PLACEMENT_SYSTEM, info.placement);
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
