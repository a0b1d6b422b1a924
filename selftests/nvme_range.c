// SPDX-License-Identifier: GPL-2.0
/*
 * Many bindings: ranges of one buffer, in one file and in several, made and
 * ended while others work. No binding touches a byte outside its range, and
 * none notices the others.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <liburing.h>

#include "p2pbuf_test_load.h"

#define SIZE	(64 * PTN_MIB)
#define CHUNK	(16 * PTN_MIB)
#define DEV	PTN_READ_AREA
#define PIECE	(64 * PTN_KIB)
#define PIECES	512

FIXTURE(range) {
	struct ptn_rig rig;
	struct ptn_load load;
};

FIXTURE_SETUP(range)
{
	PTN_RIG_OPEN(&self->rig, .kind = PTN_VRAM, .size = SIZE);
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 16, 16384,
				   1UL << 40));
}

FIXTURE_TEARDOWN(range)
{
	ptn_rig_close(&self->rig);
}

static int bind_at(struct ptn_rig *rig, __u64 offset, __u64 length)
{
	return ptn_bind_range(rig->node, rig->buffer.dmabuf, rig->disk.fd,
			      offset, length, 0, NULL);
}

static int read_id(struct ptn_rig *rig, int id, __u64 buf, __u64 dev,
		   __u32 len)
{
	return ptn_read(&rig->ring, rig->node, id, buf, dev, len);
}

/* Hundreds, side by side; each fills its own piece and no other. */
TEST_F_TIMEOUT(range, hundreds, 60)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	int id[PIECES], i;

	/* every second piece of the first 64 MiB belongs to nobody */
	for (i = 0; i < PIECES; i++) {
		id[i] = bind_at(rig, i * 2 * PIECE, PIECE);
		ASSERT_LT(0, id[i]);
	}
	ptn_poison(map, SIZE);
	for (i = 0; i < PIECES; i++) {
		ASSERT_EQ((int)PIECE, read_id(rig, id[i], 0, DEV + i * 512,
					      PIECE));
		EXPECT_EQ(-ERANGE, read_id(rig, id[i], 4, DEV, PIECE));
		EXPECT_EQ(-ERANGE, read_id(rig, id[i], PIECE, DEV, 512));
	}
	for (i = 0; i < PIECES; i++) {
		ASSERT_EQ(PIECE, ptn_check(map + i * 2 * PIECE, PIECE,
					   PTN_LOAD_SEED, DEV + i * 512));
		ASSERT_EQ(PIECE, ptn_check_poison(map + (i * 2 + 1) * PIECE,
						  PIECE));
	}
	/* Half of them end; the other half does not notice. */
	for (i = 0; i < PIECES; i += 2)
		ASSERT_EQ(0, ptn_unbind(rig->node, id[i]));
	ptn_poison(map, SIZE);
	for (i = 0; i < PIECES; i++)
		EXPECT_EQ(i % 2 ? (int)PIECE : -ENOENT,
			  read_id(rig, id[i], 0, DEV, PIECE));
	for (i = 0; i < PIECES; i++)
		EXPECT_EQ(PIECE, i % 2 ?
			  ptn_check(map + i * 2 * PIECE, PIECE, PTN_LOAD_SEED,
				    DEV) :
			  ptn_check_poison(map + i * 2 * PIECE, PIECE));
}

TEST_F(range, overlapping)
{
	struct ptn_rig *rig = &self->rig;
	char *map = rig->buffer.map;
	int id[33], i;

	for (i = 0; i <= 32; i++) {
		id[i] = bind_at(rig, CHUNK - (32 - i) * PTN_PAGE,
				32 * PTN_PAGE);
		ASSERT_LT(0, id[i]);
	}
	/* The same place of the buffer by all that hold it. */
	for (i = 1; i <= 32; i++) {
		__u64 buf = (32 - i) * PTN_PAGE;

		ptn_poison(map + CHUNK - PTN_PAGE, 3 * PTN_PAGE);
		if (i < 32) {
			EXPECT_EQ(512, read_id(rig, id[i], buf, DEV + i * 512,
					       512));
			EXPECT_EQ(512, ptn_check(map + CHUNK, 512,
						 PTN_LOAD_SEED,
						 DEV + i * 512));
		}
		/* and what it holds last, to the last byte */
		ptn_poison(map + CHUNK + i * PTN_PAGE - 512, 1024);
		EXPECT_EQ(512, read_id(rig, id[i], 32 * PTN_PAGE - 512, DEV,
				       512));
		EXPECT_EQ(512, ptn_check(map + CHUNK + i * PTN_PAGE - 512,
					 512, PTN_LOAD_SEED, DEV));
		EXPECT_EQ(512, ptn_check_poison(map + CHUNK + i * PTN_PAGE,
						512));
		EXPECT_EQ(-ERANGE, read_id(rig, id[i], 32 * PTN_PAGE - 512,
					   DEV, 1024));
	}
}

/* What a range may not do, a split command may not do either. */
TEST_F(range, never_outside)
{
	struct ptn_rig *rig = &self->rig;
	__u64 at = CHUNK - PTN_MIB, len = 5 * PTN_MIB;
	char *map = rig->buffer.map;
	int id = bind_at(rig, at, len);

	ASSERT_LT(0, id);
	ptn_poison(map, SIZE);
	EXPECT_EQ((int)len, read_id(rig, id, 0, DEV, len));
	EXPECT_EQ(at, ptn_check_poison(map, at));
	EXPECT_EQ(len, ptn_check(map + at, len, PTN_LOAD_SEED, DEV));
	EXPECT_EQ(SIZE - at - len, ptn_check_poison(map + at + len,
						    SIZE - at - len));
	ptn_poison(map, SIZE);
	EXPECT_EQ(-ERANGE, read_id(rig, id, 0, DEV, len + 512));
	EXPECT_EQ(-ERANGE, read_id(rig, id, 512, DEV, len));
	EXPECT_EQ(SIZE, ptn_check_poison(map, SIZE));
}

/* The drive `error` fails each read that covers this sector. */
#define BAD_READ	(65536ULL * 512)
#define BAD_SIZE	(8 * PTN_MIB)

/* Nobody says what a read leaves that failed, in its range; outside it nothing. */
static void fail_a_read(struct __test_metadata *_metadata, struct ptn_rig *rig,
			int id, __u64 buf, __u64 before, __u64 len)
{
	char *map = rig->buffer.map;
	__u64 at = PTN_MIB + buf;
	int ret;

	ptn_poison(map, BAD_SIZE);
	ret = read_id(rig, id, buf, BAD_READ - before, len);
	EXPECT_TRUE(ret == -EIO || ret == -ENODATA)
		TH_LOG("%llu bytes, bad at %llu: %d", len, before, ret);
	EXPECT_EQ(at, ptn_check_poison(map, at))
		TH_LOG("%llu bytes, bad at %llu", len, before);
	EXPECT_EQ(BAD_SIZE - at - len,
		  ptn_check_poison(map + at + len, BAD_SIZE - at - len))
		TH_LOG("%llu bytes, bad at %llu", len, before);
}

/* In one command, and in each part of one that is split. */
TEST(failed_never_outside)
{
	const __u64 page = PTN_PAGE, sector = 512;
	struct ptn_rig rig;
	__u64 part, buf;
	int id;

	PTN_RIG_OPEN(&rig, .role = "error", .kind = PTN_VRAM,
		     .size = BAD_SIZE);
	/* The drive does what this test takes it to do. */
	ASSERT_NE(0, ptn_disk_read(&rig.disk, rig.scratch, sector, BAD_READ));
	id = bind_at(&rig, PTN_MIB, BAD_SIZE - 2 * PTN_MIB);
	ASSERT_LT(0, id);
	part = rig.bind.max_io;
	ASSERT_GE(BAD_SIZE - 4 * PTN_MIB, 4 * part);
	for (buf = PTN_MIB; buf <= PTN_MIB + 4; buf += 4) {
		fail_a_read(_metadata, &rig, id, buf, 0, sector);
		fail_a_read(_metadata, &rig, id, buf, 0, page);
		fail_a_read(_metadata, &rig, id, buf, page - sector, page);
		fail_a_read(_metadata, &rig, id, buf, part / 2, part);
		fail_a_read(_metadata, &rig, id, buf, 0, 4 * part - page);
		fail_a_read(_metadata, &rig, id, buf, part + page, 4 * part -
			    page);
		fail_a_read(_metadata, &rig, id, buf, 3 * part, 3 * part +
			    sector);
	}
	/* Up to the first byte of the binding, and to its last. */
	fail_a_read(_metadata, &rig, id, 0, part, 2 * part);
	fail_a_read(_metadata, &rig, id, BAD_SIZE - 2 * PTN_MIB - 2 * part,
		    part, 2 * part);
	ptn_rig_close(&rig);
}

/* The binding alone keeps buffer and disk. */
TEST_F(range, file_descriptors_closed)
{
	struct ptn_rig *rig = &self->rig;
	struct drm_p2pbuf_device_info before, after;
	char *map = rig->buffer.map;
	int observer = ptx_open(0);

	ASSERT_LE(0, observer);
	ASSERT_EQ(0, ptx_device_info(observer, &before));
	close(rig->buffer.dmabuf);
	close(rig->buffer.node);
	close(rig->disk.fd);
	rig->buffer.dmabuf = -1;
	rig->buffer.node = -1;
	rig->disk.fd = -1;
	self->load.target = 100;
	PTN_LOAD_GOOD(&self->load);
	munmap(map, SIZE);
	rig->buffer.map = NULL;
	ASSERT_EQ(0, ptx_device_info(observer, &after));
	EXPECT_EQ(before.vram_used, after.vram_used);
	EXPECT_EQ(4096, read_id(rig, rig->id, 0, DEV, 4096));
	/* With the binding the memory goes. */
	ASSERT_EQ(0, ptn_unbind(rig->node, rig->id));
	ASSERT_EQ(0, ptx_device_info(observer, &after));
	EXPECT_LE(after.vram_used + SIZE, before.vram_used);
	close(observer);
}

/* One buffer between two drives, in one file. */
TEST_F(range, two_drives)
{
	struct ptn_rig *rig = &self->rig;
	__u64 len = 6 * PTN_MIB;
	struct ptn_disk second;
	int id, ret;

	ret = ptn_disk_open("second", &second);
	if (ret == -ENODEV)
		SKIP(return, "no second drive");
	ASSERT_EQ(0, ret);
	id = ptn_bind(rig->node, rig->buffer.dmabuf, second.fd, 0);
	ASSERT_LT(0, id);
	ptn_poison(rig->scratch, len);
	ASSERT_EQ(0, ptn_disk_write(&second, rig->scratch, len, DEV));
	ptn_poison(rig->buffer.map, len);
	EXPECT_EQ((int)len, read_id(rig, rig->id, 0, DEV, len));
	EXPECT_EQ((int)len, ptn_write(&rig->ring, rig->node, id, 0, DEV, len));
	ASSERT_EQ(0, ptn_disk_read(&second, rig->scratch, len, DEV));
	EXPECT_EQ(len, ptn_check(rig->scratch, len, PTN_LOAD_SEED, DEV));
	ptn_disk_close(&second);
}

/* ---- while others work ------------------------------------------------------ */

struct mover {
	struct ptn_buffer *buffer;
	const volatile int *stop;
	unsigned long moves;
	int error;
};

static void *mover_thread(void *arg)
{
	struct mover *m = arg;

	while (!*m->stop && !m->error) {
		m->error = ptx_move(m->buffer->node, m->buffer->handle,
				    m->moves++ % 2 ? P2PBUF_PLACEMENT_VRAM :
				    P2PBUF_PLACEMENT_SYSTEM, 0);
	}
	return NULL;
}

/*
 * A file with one binding of the first chunk that works all the time, and
 * one more binding after the other, each of which needs more of the address
 * lists and so makes the buffer be mapped anew.
 */
static void bind_under_load(struct __test_metadata *_metadata,
			    struct ptn_rig *rig, struct ptn_load *load,
			    bool move)
{
	struct p2pbuf_nvme_bind_info info;
	static volatile int stop;
	struct mover mover = { .buffer = &rig->buffer, .stop = &stop };
	pthread_t thread, moving;
	int round, i, id;
	void *ret;

	ASSERT_EQ(0, ptn_unbind(rig->node, rig->id));
	/* Long enough to be in flight when the buffer is mapped anew. */
	load->len = PTN_MIB / 2;
	load->stop = &stop;
	for (round = 0; round < 6; round++) {
		stop = 0;
		close(rig->node);
		rig->node = ptn_open();
		ASSERT_LE(0, rig->node);
		load->node = rig->node;
		load->id = bind_at(rig, 0, 8 * PTN_MIB);
		/* A strict binding cannot be made while it is moved out. */
		ASSERT_LT(0, (int)load->id);
		ASSERT_EQ(0, pthread_create(&thread, NULL, ptn_load_thread, load));
		if (move)
			ASSERT_EQ(0, pthread_create(&moving, NULL,
						    mover_thread, &mover));
		for (i = 1; i < 4; i++) {
			do {
				id = ptn_bind_range(rig->node,
						    rig->buffer.dmabuf,
						    rig->disk.fd, i * CHUNK,
						    CHUNK, move ?
				P2PBUF_NVME_BIND_ALLOW_SYSTEM : 0, NULL);
			} while (id == -EINTR);
			EXPECT_LT(0, id);
		}
		ASSERT_EQ(0, ptn_info(rig->node, load->id, &info));
		usleep(1000);
		stop = 1;
		ASSERT_EQ(0, pthread_join(thread, &ret));
		EXPECT_EQ(NULL, ret);
		if (move) {
			ASSERT_EQ(0, pthread_join(moving, NULL));
			EXPECT_EQ(0, mover.error);
			ASSERT_EQ(0, ptx_move(rig->buffer.node,
					      rig->buffer.handle,
					      P2PBUF_PLACEMENT_VRAM, 0));
		}
		EXPECT_EQ(0, load->failed);
		EXPECT_EQ(0, load->wrong);
		EXPECT_LE(4, info.path.generation);
	}
}

TEST_F_TIMEOUT(range, bind_under_load, 60)
{
	bind_under_load(_metadata, &self->rig, &self->load, false);
}

TEST_F_TIMEOUT(range, bind_under_load_and_moves, 60)
{
	bind_under_load(_metadata, &self->rig, &self->load, true);
}

struct binder {
	struct ptn_rig *rig;
	pthread_t thread;
	__u64 offset;
	int id;
};

static void *bind_thread(void *arg)
{
	struct binder *b = arg;

	b->id = ptn_bind_range(b->rig->node, b->rig->buffer.dmabuf,
			       b->rig->disk.fd, b->offset, CHUNK,
			       P2PBUF_NVME_BIND_ALLOW_SYSTEM, NULL);
	return NULL;
}

/*
 * The exporter may move what is just being mapped anew, with commands of the
 * mapping before still under way: it has to wait for those, too.
 */
TEST(move_what_is_mapped_anew)
{
	static struct ptn_load load;
	static volatile int stop;
	struct binder binder;
	struct ptn_rig rig;
	pthread_t thread;
	int round;

	PTN_RIG_OPEN(&rig, .role = ptn_slow(), .kind = PTN_VRAM, .size = SIZE);
	ASSERT_EQ(0, ptn_load_init(&load, &rig, 8, PTN_MIB / 2, 1UL << 40));
	load.stop = &stop;
	binder.rig = &rig;
	for (round = 0; round < 15; round++) {
		stop = 0;
		if (round % 3 == 0) {
			close(rig.node);
			rig.node = ptn_open();
			load.node = rig.node;
			load.id = ptn_bind_range(rig.node, rig.buffer.dmabuf,
						 rig.disk.fd, 0, 8 * PTN_MIB,
						 0, NULL);
			ASSERT_LT(0, (int)load.id);
		}
		ASSERT_EQ(0, pthread_create(&thread, NULL, ptn_load_thread, &load));
		usleep(100000);
		binder.offset = (round % 3 + 1) * CHUNK;
		ASSERT_EQ(0, pthread_create(&binder.thread, NULL, bind_thread,
					    &binder));
		/* it reads some blocks before: try when it is over with that */
		usleep(60000 + round * 12000);
		EXPECT_EQ(0, ptx_move(rig.buffer.node, rig.buffer.handle,
				      round % 2 ? P2PBUF_PLACEMENT_VRAM :
				      P2PBUF_PLACEMENT_SYSTEM, 0));
		ASSERT_EQ(0, pthread_join(binder.thread, NULL));
		EXPECT_LT(0, binder.id);
		usleep(100000);
		stop = 1;
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(0, load.failed);
		EXPECT_EQ(0, load.wrong);
		if (round % 3 == 2)
			ASSERT_EQ(0, ptx_move(rig.buffer.node,
					      rig.buffer.handle,
					      P2PBUF_PLACEMENT_VRAM, 0));
	}
	ptn_rig_close(&rig);
}

#define FILES	6

/* Several files with one buffer: each has its own end. */
TEST_F_TIMEOUT(range, several_files, 60)
{
	struct ptn_rig *rig = &self->rig;
	static struct ptn_load load[FILES];
	struct io_uring ring[FILES];
	volatile int stop[FILES] = {};
	pthread_t thread[FILES];
	int i;

	for (i = 0; i < FILES; i++) {
		load[i] = self->load;
		load[i].node = ptn_open();
		load[i].base = i * PTN_MIB;
		load[i].write_area += i * PTN_MIB;
		load[i].id = ptn_bind(load[i].node, rig->buffer.dmabuf,
				      rig->disk.fd, 0);
		load[i].ring = &ring[i];
		load[i].random += i;
		load[i].stop = &stop[i];
		ASSERT_LT(0, (int)load[i].id);
		ASSERT_EQ(0, io_uring_queue_init(16, &ring[i], 0));
	}
	for (i = 0; i < FILES; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, ptn_load_thread,
					    &load[i]));
	for (i = 0; i < FILES; i++) {
		usleep(50000);
		stop[i] = 1;
		ASSERT_EQ(0, pthread_join(thread[i], NULL));
		EXPECT_EQ(0, load[i].failed);
		EXPECT_EQ(0, load[i].wrong);
		close(load[i].node);
	}
}

/* Bindings come and go in one file from many threads at once. */
struct churn {
	struct ptn_rig *rig;
	pthread_t thread;
	int number;
	int error;
};

static void *churn_thread(void *arg)
{
	struct churn *c = arg;
	__u64 at = c->number * CHUNK / 2;
	struct io_uring ring;
	int i, id;

	c->error = io_uring_queue_init(8, &ring, 0);
	for (i = 0; i < 20 && !c->error; i++) {
		id = bind_at(c->rig, at, CHUNK);
		if (id < 0) {
			c->error = id;
			break;
		}
		if (ptn_read(&ring, c->rig->node, id, 0, DEV, PTN_MIB) !=
		    (int)PTN_MIB)
			c->error = -EIO;
		if (ptn_unbind(c->rig->node, id))
			c->error = -ENOENT;
	}
	io_uring_queue_exit(&ring);
	return NULL;
}

TEST_F_TIMEOUT(range, churn, 60)
{
	struct churn c[4];
	int i;

	for (i = 0; i < 4; i++) {
		c[i] = (struct churn){ .rig = &self->rig, .number = i };
		ASSERT_EQ(0, pthread_create(&c[i].thread, NULL, churn_thread,
					    &c[i]));
	}
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(c[i].thread, NULL));
		EXPECT_EQ(0, c[i].error);
	}
	for (i = 0; i < 4; i++)
		EXPECT_EQ(PTN_MIB, ptn_check((char *)self->rig.buffer.map +
					     i * CHUNK / 2, PTN_MIB,
					     PTN_LOAD_SEED, DEV));
}

TEST_HARNESS_MAIN
