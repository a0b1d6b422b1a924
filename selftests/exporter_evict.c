// SPDX-License-Identifier: GPL-2.0
/*
 * VRAM that is asked for more often than it is there: who is evicted, in what
 * order, and that nobody loses a byte.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/time.h>

#include <linux/dma-buf.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_edu.h"
#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_region.h"
#include "p2pbuf_test_until.h"

#define MIB		(1ULL << 20)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM

static void on_alarm(int signal)
{
	(void)signal;
}

FIXTURE(evict)
{
	int fd;
	__u64 vram_size;
};

FIXTURE_SETUP(evict)
{
	struct drm_p2pbuf_device_info info;

	self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	if (info.vram_used)
		SKIP(return, "somebody else uses VRAM");
	self->vram_size = info.vram_size;
}

FIXTURE_TEARDOWN(evict)
{
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F(evict, oldest_first_and_nothing_lost)
{
	struct drm_p2pbuf_gem_create bo[6];
	__u64 size = self->vram_size / 4;
	struct drm_p2pbuf_gem_info info;
	void *p[6];
	int i;

	/* Four fit. */
	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, ptx_create(self->fd, size, VRAM, 0, &bo[i]));
		p[i] = ptx_mmap(self->fd, size, bo[i].mmap_offset);
		ASSERT_NE(NULL, p[i]);
		ptx_fill(p[i], size, i);
	}
	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, ptx_info(self->fd, bo[i].handle, &info));
		EXPECT_EQ(i < 2 ? SYSTEM : VRAM, info.placement);
		EXPECT_EQ(i < 2 ? 1 : 0, info.evictions);
		EXPECT_EQ(i < 2 ? 2 : 1, info.generation);
	}
	for (i = 0; i < 6; i++)
		EXPECT_EQ(size, ptx_check(p[i], size, i));

	/* Coming back evicts the one that is oldest now; asking is no use. */
	ASSERT_EQ(0, ptx_move(self->fd, bo[0].handle, VRAM, 0));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, bo[2].handle));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, bo[3].handle));
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(size, ptx_check(p[i], size, i));
		munmap(p[i], size);
	}
}

TEST_F(evict, vram_only_is_not_evicted)
{
	struct drm_p2pbuf_gem_create fixed, bo;
	void *p;

	ASSERT_EQ(0, ptx_create(self->fd, self->vram_size / 2, VRAM,
				P2PBUF_CREATE_VRAM_ONLY, &fixed));
	p = ptx_mmap(self->fd, self->vram_size / 2, fixed.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, self->vram_size / 2, 3);
	EXPECT_EQ(-ENOSPC, ptx_create(self->fd, self->vram_size / 2 + 4096,
				      VRAM, 0, &bo));
	EXPECT_EQ(-ENOSPC, ptx_create(self->fd, self->vram_size / 2 + 4096,
				      VRAM, P2PBUF_CREATE_VRAM_ONLY, &bo));
	ASSERT_EQ(0, ptx_create(self->fd, self->vram_size / 2, VRAM, 0, &bo));
	EXPECT_EQ(-ENOSPC, ptx_create(self->fd, self->vram_size, VRAM, 0,
				      &fixed));
	EXPECT_EQ(self->vram_size / 2, ptx_check(p, self->vram_size / 2, 3));
	munmap(p, self->vram_size / 2);
}

/* What does not get in stays where it is, with its bytes. */
TEST_F(evict, no_space_changes_nothing)
{
	struct drm_p2pbuf_gem_create fixed, bo;
	__u64 size = self->vram_size / 2 + 4096;
	struct drm_p2pbuf_gem_info info;
	void *p;

	ASSERT_EQ(0, ptx_create(self->fd, self->vram_size / 2, VRAM,
				P2PBUF_CREATE_VRAM_ONLY, &fixed));
	ASSERT_EQ(0, ptx_create(self->fd, size, SYSTEM, 0, &bo));
	p = ptx_mmap(self->fd, size, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, size, 4);
	EXPECT_EQ(-ENOSPC, ptx_move(self->fd, bo.handle, VRAM, 0));
	ASSERT_EQ(0, ptx_info(self->fd, bo.handle, &info));
	EXPECT_EQ(SYSTEM, info.placement);
	EXPECT_EQ(1, info.generation);
	EXPECT_EQ(size, ptx_check(p, size, 4));
	ASSERT_EQ(0, ptx_close(self->fd, fixed.handle));
	EXPECT_EQ(0, ptx_move(self->fd, bo.handle, VRAM, 0));
	EXPECT_EQ(size, ptx_check(p, size, 4));
	munmap(p, size);
}

/*
 * An object of @size in VRAM that is being moved out, but its importer's fence
 * takes its time: while that lasts its lock is held.
 */
struct slow_leaver {
	struct drm_p2pbuf_gem_create bo;
	int fd;
	int edu;
	int dmabuf;
	int error;
	atomic_bool done;
	pthread_t thread;
};

static void *slow_leave(void *arg)
{
	struct slow_leaver *s = arg;

	s->error = ptx_move(s->fd, s->bo.handle, SYSTEM, 0);
	atomic_store(&s->done, true);
	return NULL;
}

/* 0 when it is under way; -EREMOTEIO when no importer can reach the BAR. */
static int slow_leaver_start(struct slow_leaver *s, int fd, __u64 size,
			     __u32 ms)
{
	struct p2pbuf_edu_stat stat;
	__u32 p2p;
	int id;

	s->fd = fd;
	s->dmabuf = -1;
	s->edu = pte_open();
	if (s->edu < 0)
		return s->edu;
	if (ptx_create(fd, size, VRAM, 0, &s->bo))
		return -ENOSPC;
	s->dmabuf = ptx_export(fd, s->bo.handle, true);
	id = pte_attach(s->edu, s->dmabuf, P2PBUF_EDU_GOOD, &p2p);
	if (id < 0)
		return id;
	if (!p2p)
		return -EREMOTEIO;
	if (pte_map(s->edu, id, NULL) || pte_fence(s->edu, id, ms) ||
	    pthread_create(&s->thread, NULL, slow_leave, s))
		return -EIO;

	/* It has the lock when the importer has been told. */
	do {
		if (pte_stat(s->edu, id, &stat))
			return -EIO;
	} while (!stat.invalidations);
	return 0;
}

static void slow_leaver_end(struct slow_leaver *s)
{
	if (s->dmabuf >= 0)
		close(s->dmabuf);
	if (s->edu >= 0)
		close(s->edu);
}

/*
 * The only victim is locked just now. It is waited for: that is better than
 * to say that there is no space when there will be.
 */
TEST_F(evict, locked_victim_is_waited_for)
{
	struct drm_p2pbuf_gem_create bo;
	struct slow_leaver slow = {};
	int ret;

	ret = slow_leaver_start(&slow, self->fd, self->vram_size, 1500);
	if (ret == -ENODEV || ret == -EREMOTEIO) {
		slow_leaver_end(&slow);
		SKIP(return, "no device that can reach the BAR");
	}
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, ptx_create(self->fd, self->vram_size, VRAM, 0, &bo));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, bo.handle));
	pthread_join(slow.thread, NULL);
	EXPECT_EQ(0, slow.error);
	slow_leaver_end(&slow);
}

/* Somebody who waits for room. */
struct waiter {
	struct drm_p2pbuf_gem_create bo;
	__u64 size;
	int fd;
	int error;
	atomic_bool done;
	pthread_t thread;
};

static void *wait_for_room(void *arg)
{
	struct waiter *w = arg;

	w->error = ptx_create(w->fd, w->size, VRAM, 0, &w->bo);
	atomic_store(&w->done, true);
	return NULL;
}

/* Who does not want to wait is not made to wait for somebody who does. */
TEST_F_TIMEOUT(evict, nowait_does_not_queue, 120)
{
	struct waiter w = { .fd = self->fd, .size = self->vram_size };
	struct drm_p2pbuf_gem_create bo;
	struct slow_leaver slow = {};
	int ret;

	ASSERT_EQ(0, ptx_create(self->fd, MIB, SYSTEM, 0, &bo));
	ret = slow_leaver_start(&slow, self->fd, self->vram_size, 60000);
	if (ret == -ENODEV || ret == -EREMOTEIO) {
		slow_leaver_end(&slow);
		SKIP(return, "no device that can reach the BAR");
	}
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, pthread_create(&w.thread, NULL, wait_for_room, &w));
	/* Until the other one stands in line there is just no space. */
	EXPECT_TRUE(ptk_until((ret = ptx_move(self->fd, bo.handle, VRAM,
					      P2PBUF_MOVE_NOWAIT)) != -ENOSPC,
			      10000));
	EXPECT_EQ(-EBUSY, ret);
	EXPECT_FALSE(atomic_load(&w.done));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, bo.handle));
	/* Ends the fence. */
	slow_leaver_end(&slow);
	pthread_join(slow.thread, NULL);
	pthread_join(w.thread, NULL);
	EXPECT_EQ(0, slow.error);
	EXPECT_EQ(0, w.error);
}

/* ---- who holds up whom ------------------------------------------------------- */

/* An object that waits for room, and is exported meanwhile. */
struct exported {
	int fd;
	__u32 handle;
	int dmabuf;
	atomic_bool done;
	pthread_t thread;
};

static void *export_it(void *arg)
{
	struct exported *e = arg;

	e->dmabuf = ptx_export(e->fd, e->handle, true);
	atomic_store(&e->done, true);
	return NULL;
}

/* What every program does: its own file, and an object. */
struct passer_by {
	int error;
	atomic_bool done;
	pthread_t thread;
};

static void *pass_by(void *arg)
{
	struct passer_by *p = arg;
	struct drm_p2pbuf_gem_create bo;
	int fd = ptx_open(0);

	p->error = fd < 0 ? fd : ptx_create(fd, 4096, SYSTEM, 0, &bo);
	if (!p->error)
		p->error = ptx_close(fd, bo.handle);
	close(fd);
	atomic_store(&p->done, true);
	return NULL;
}

static void *move_in(void *arg)
{
	struct waiter *w = arg;

	w->error = ptx_move(w->fd, w->bo.handle, VRAM, 0);
	atomic_store(&w->done, true);
	return NULL;
}

/*
 * DRM exports with a lock held that all of the device's clients need. An object
 * that waits for room keeps neither its exporter nor them.
 */
TEST_F_TIMEOUT(evict, export_holds_up_nobody, 120)
{
	struct exported export = { .fd = self->fd };
	struct drm_p2pbuf_gem_create bo;
	struct waiter w = { .fd = self->fd };
	struct slow_leaver slow = {};
	struct passer_by other = {};
	int ret;

	ASSERT_EQ(0, ptx_create(self->fd, MIB, SYSTEM, 0, &bo));
	ASSERT_EQ(0, ptx_create(self->fd, self->vram_size, SYSTEM, 0, &w.bo));
	export.handle = w.bo.handle;
	ret = slow_leaver_start(&slow, self->fd, self->vram_size, 60000);
	if (ret == -ENODEV || ret == -EREMOTEIO) {
		slow_leaver_end(&slow);
		SKIP(return, "no device that can reach the BAR");
	}
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, pthread_create(&w.thread, NULL, move_in, &w));
	/* It stands in line, see nowait_does_not_queue, and has its resv then. */
	EXPECT_TRUE(ptk_until(ptx_move(self->fd, bo.handle, VRAM,
				       P2PBUF_MOVE_NOWAIT) == -EBUSY, 10000));
	usleep(100000);
	ASSERT_EQ(0, pthread_create(&export.thread, NULL, export_it, &export));
	EXPECT_TRUE(ptk_until(atomic_load(&export.done), 5000));
	ASSERT_EQ(0, pthread_create(&other.thread, NULL, pass_by, &other));
	EXPECT_TRUE(ptk_until(atomic_load(&other.done), 5000));
	EXPECT_FALSE(atomic_load(&slow.done));
	EXPECT_FALSE(atomic_load(&w.done));
	slow_leaver_end(&slow);
	pthread_join(slow.thread, NULL);
	pthread_join(w.thread, NULL);
	pthread_join(export.thread, NULL);
	pthread_join(other.thread, NULL);
	EXPECT_EQ(0, slow.error);
	EXPECT_EQ(0, w.error);
	EXPECT_EQ(0, other.error);
	EXPECT_LE(0, export.dmabuf);
	close(export.dmabuf);
}

#define FEEDERS		3

/* Has its own object in VRAM again and again, whoever wants the room. */
struct feeder {
	atomic_bool *stop;
	__u64 size;
	int error;
	pthread_t thread;
};

static void *feed(void *arg)
{
	struct feeder *f = arg;
	struct drm_p2pbuf_gem_create bo;
	int fd = ptx_open(0), ret;
	sigset_t alarm;

	/* It is for the other one. */
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	f->error = ptx_create(fd, f->size, VRAM, 0, &bo);
	while (!f->error && !atomic_load(f->stop)) {
		ret = ptx_move(fd, bo.handle, VRAM, 0);
		/* The other one is just as hungry. */
		if (ret && ret != -ENOSPC)
			f->error = ret;
	}
	close(fd);
	return NULL;
}

/*
 * What can never fit drives out everybody else, who come back. That ends all the
 * same; and at once for who is told to stop.
 */
TEST_F_TIMEOUT(evict, what_never_fits_gives_up, 120)
{
	struct feeder feeders[FEEDERS] = {};
	/* Again and again: one may come just when the move has given up. */
	const struct itimerval never = {}, soon = {
		.it_interval.tv_usec = 500000, .it_value.tv_usec = 500000,
	};
	struct drm_p2pbuf_gem_move move = { .placement = VRAM };
	struct drm_p2pbuf_gem_create fixed, bo;
	struct sigaction action = { .sa_handler = on_alarm };
	atomic_bool stop = false;
	int i, ret;

	ASSERT_EQ(0, ptx_create(self->fd, 4096, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				&fixed));
	ASSERT_EQ(0, ptx_create(self->fd, self->vram_size, SYSTEM, 0, &bo));
	for (i = 0; i < FEEDERS; i++) {
		feeders[i].stop = &stop;
		feeders[i].size = self->vram_size / 4 & ~4095ULL;
		ASSERT_EQ(0, pthread_create(&feeders[i].thread, NULL, feed,
					    &feeders[i]));
	}
	EXPECT_EQ(-ENOSPC, ptx_move(self->fd, bo.handle, VRAM, 0));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, bo.handle));
	sigaction(SIGALRM, &action, NULL);
	move.handle = bo.handle;
	setitimer(ITIMER_REAL, &soon, NULL);
	do {
		ret = ioctl(self->fd, DRM_IOCTL_P2PBUF_GEM_MOVE, &move);
	} while (ret && errno == ENOSPC);
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(EINTR, errno);
	setitimer(ITIMER_REAL, &never, NULL);
	atomic_store(&stop, true);
	for (i = 0; i < FEEDERS; i++) {
		pthread_join(feeders[i].thread, NULL);
		EXPECT_EQ(0, feeders[i].error);
	}
}

#define CROWD		4
#define ROUNDS		8

struct member {
	__u64 size;
	unsigned int number;
	int error;
	__u64 wrong;
	unsigned int evictions;
};

/* A program of its own: two objects, always wants both in VRAM. */
static void *crowd_member(void *arg)
{
	struct member *m = arg;
	struct drm_p2pbuf_gem_create bo[2];
	struct drm_p2pbuf_gem_info info;
	void *p[2] = {};
	int fd, i, round, k;

	fd = ptx_open(0);
	if (fd < 0) {
		m->error = fd;
		return NULL;
	}
	for (i = 0; i < 2; i++) {
		m->error = ptx_create(fd, m->size, VRAM, 0, &bo[i]);
		if (m->error)
			goto out;
		p[i] = ptx_mmap(fd, m->size, bo[i].mmap_offset);
		ptx_fill(p[i], m->size, m->number * 2 + i);
	}
	for (round = 0; round < ROUNDS && !m->error; round++) {
		k = round & 1;
		m->error = ptx_move(fd, bo[k].handle, VRAM, 0);
		if (ptx_check(p[k], m->size, m->number * 2 + k) != m->size)
			m->wrong++;
	}
	for (i = 0; i < 2; i++)
		if (!ptx_info(fd, bo[i].handle, &info))
			m->evictions += info.evictions;
out:
	for (i = 0; i < 2; i++)
		if (p[i])
			munmap(p[i], m->size);
	close(fd);
	return NULL;
}

/*
 * All want more than there is, at the same time, and everything can be
 * evicted: nobody may be told that there is no space.
 */
TEST_F_TIMEOUT(evict, crowd, 120)
{
	struct member members[CROWD] = {};
	struct drm_p2pbuf_device_info info;
	unsigned int evictions = 0;
	pthread_t threads[CROWD];
	int i;

	for (i = 0; i < CROWD; i++) {
		/* Together twice what is there; each alone fits. */
		members[i].size = self->vram_size / CROWD & ~4095ULL;
		members[i].number = i;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, crowd_member,
					    &members[i]));
	}
	for (i = 0; i < CROWD; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, members[i].error);
		EXPECT_EQ(0, members[i].wrong);
		evictions += members[i].evictions;
	}
	EXPECT_LT(0, evictions);
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(0, info.vram_used);
}

/*
 * The limit of one file, on a region that is bound again with another limit.
 */
FIXTURE(limit)
{
	struct ptr_region region;
	int fd;
	__u64 limit;
};

FIXTURE_SETUP(limit)
{
	struct drm_p2pbuf_device_info info;

	self->fd = -1;
	if (ptr_find(0, &self->region))
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ptr_param("resident_limit_percent", "25"));
	ASSERT_EQ(0, ptr_rebind(&self->region));
	self->fd = ptr_open(&self->region);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	self->limit = info.resident_limit;
	ASSERT_EQ(info.vram_size / 4, self->limit);
}

FIXTURE_TEARDOWN(limit)
{
	if (self->fd < 0)
		return;
	close(self->fd);
	ptr_param("resident_limit_percent", "100");
	ptr_rebind(&self->region);
}

TEST_F(limit, own_oldest_gives_way)
{
	__u64 size = self->limit / 4 & ~4095ULL;
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo[6], theirs;
	int other = ptr_open(&self->region);
	void *p[6];
	int i;

	/* Somebody else's object is older, and safe. */
	ASSERT_LE(0, other);
	ASSERT_EQ(0, ptx_create(other, size, VRAM, 0, &theirs));

	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, ptx_create(self->fd, size, VRAM, 0, &bo[i]));
		p[i] = ptx_mmap(self->fd, size, bo[i].mmap_offset);
		ASSERT_NE(NULL, p[i]);
		ptx_fill(p[i], size, i);
		ASSERT_EQ(0, ptx_device_info(self->fd, &info));
		EXPECT_GE(self->limit, info.resident_used);
	}
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(i < 2 ? SYSTEM : VRAM,
			  ptx_placement(self->fd, bo[i].handle));
		EXPECT_EQ(size, ptx_check(p[i], size, i));
	}
	EXPECT_EQ(VRAM, ptx_placement(other, theirs.handle));

	/* Moving one back is charged, too. */
	ASSERT_EQ(0, ptx_move(self->fd, bo[0].handle, VRAM, 0));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, bo[2].handle));
	/* Leaving is not. */
	ASSERT_EQ(0, ptx_move(self->fd, bo[0].handle, SYSTEM, 0));
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(3 * size, info.resident_used);
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(size, ptx_check(p[i], size, i));
		munmap(p[i], size);
	}
	close(other);
}

TEST_F(limit, locked_victim_is_waited_for)
{
	struct drm_p2pbuf_gem_create bo;
	struct slow_leaver slow = {};
	int ret;

	ret = slow_leaver_start(&slow, self->fd, self->limit, 1500);
	if (ret == -ENODEV || ret == -EREMOTEIO) {
		slow_leaver_end(&slow);
		SKIP(return, "no device that can reach the BAR");
	}
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, ptx_create(self->fd, self->limit, VRAM, 0, &bo));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, bo.handle));
	pthread_join(slow.thread, NULL);
	EXPECT_EQ(0, slow.error);
	slow_leaver_end(&slow);
}

TEST_F_TIMEOUT(limit, nowait_does_not_wait_for_a_victim, 120)
{
	struct drm_p2pbuf_gem_create bo;
	struct slow_leaver slow = {};
	int ret;

	ASSERT_EQ(0, ptx_create(self->fd, MIB, SYSTEM, 0, &bo));
	ret = slow_leaver_start(&slow, self->fd, self->limit, 60000);
	if (ret == -ENODEV || ret == -EREMOTEIO) {
		slow_leaver_end(&slow);
		SKIP(return, "no device that can reach the BAR");
	}
	ASSERT_EQ(0, ret);
	EXPECT_EQ(-EBUSY, ptx_move(self->fd, bo.handle, VRAM,
				   P2PBUF_MOVE_NOWAIT));
	EXPECT_FALSE(atomic_load(&slow.done));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, bo.handle));
	slow_leaver_end(&slow);
	pthread_join(slow.thread, NULL);
	EXPECT_EQ(0, slow.error);
}

/* The oldest is in use: the next one gives way, as it would for somebody else. */
TEST_F_TIMEOUT(limit, busy_victim_is_passed_over, 120)
{
	__u64 half = self->limit / 2 & ~4095ULL;
	struct drm_p2pbuf_gem_create busy, idle, bo;
	int edu, dmabuf, id;
	__u32 p2p;

	edu = pte_open();
	if (edu == -ENODEV)
		SKIP(return, "no device that can reach the BAR");
	ASSERT_LE(0, edu);
	ASSERT_EQ(0, ptx_create(self->fd, half, VRAM, 0, &busy));
	dmabuf = ptx_export(self->fd, busy.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(edu, dmabuf, P2PBUF_EDU_GOOD, &p2p);
	ASSERT_LE(0, id);
	if (p2p) {
		ASSERT_EQ(0, pte_map(edu, id, NULL));
		ASSERT_EQ(0, pte_fence(edu, id, 100000));
		/* Mapping is use: this one is younger. */
		ASSERT_EQ(0, ptx_create(self->fd, half, VRAM, 0, &idle));
		EXPECT_EQ(0, ptx_create(self->fd, half, VRAM, 0, &bo));
		EXPECT_EQ(VRAM, ptx_placement(self->fd, busy.handle));
		EXPECT_EQ(SYSTEM, ptx_placement(self->fd, idle.handle));
	}
	close(edu);
	close(dmabuf);
	if (!p2p)
		SKIP(return, "no device that can reach the BAR");
}

/* Gone, but for its fence: what it held comes back when that has signalled. */
TEST_F_TIMEOUT(limit, dead_object_is_waited_for, 120)
{
	struct dma_buf_export_sync_file out = { .flags = DMA_BUF_SYNC_RW };
	struct dma_buf_import_sync_file in = { .flags = DMA_BUF_SYNC_RW };
	struct drm_p2pbuf_gem_create bo, next;
	int mock = ptm_open(), buffer, dmabuf;

	if (mock == -ENOENT)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	ASSERT_LE(0, mock);
	buffer = ptm_create(mock, 4096, P2PBUF_MOCK_PAGES, 0);
	ASSERT_LE(0, buffer);
	ASSERT_LE(0, ptm_fence(mock, buffer, P2PBUF_MOCK_WRITE, 3000, 0));
	ASSERT_EQ(0, ptx_ioctl(buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out));
	ASSERT_EQ(0, ptx_create(self->fd, self->limit, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	in.fd = out.fd;
	ASSERT_EQ(0, ptx_ioctl(dmabuf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in));
	close(dmabuf);
	ASSERT_EQ(0, ptx_close(self->fd, bo.handle));
	EXPECT_EQ(0, ptx_create(self->fd, self->limit, VRAM, 0, &next));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, next.handle));
	close(out.fd);
	close(buffer);
	close(mock);
}

TEST_F(limit, too_big_is_edquot)
{
	struct drm_p2pbuf_gem_create small, bo;

	ASSERT_EQ(0, ptx_create(self->fd, 4096, VRAM, 0, &small));
	EXPECT_EQ(-EDQUOT, ptx_create(self->fd, self->limit + 4096, VRAM, 0,
				      &bo));
	/* In vain nothing was evicted. */
	EXPECT_EQ(VRAM, ptx_placement(self->fd, small.handle));
	ASSERT_EQ(0, ptx_create(self->fd, self->limit + 4096, SYSTEM, 0,
				&bo));
	EXPECT_EQ(-EDQUOT, ptx_move(self->fd, bo.handle, VRAM, 0));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, bo.handle));
	EXPECT_EQ(0, ptx_create(self->fd, self->limit, VRAM, 0, &bo));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, small.handle));
}

TEST_F(limit, what_cannot_move_is_edquot)
{
	struct drm_p2pbuf_gem_create fixed, bo;

	ASSERT_EQ(0, ptx_create(self->fd, self->limit / 2 & ~4095ULL, VRAM,
				P2PBUF_CREATE_VRAM_ONLY, &fixed));
	EXPECT_EQ(-EDQUOT, ptx_create(self->fd, self->limit, VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_close(self->fd, fixed.handle));
	EXPECT_EQ(0, ptx_create(self->fd, self->limit, VRAM, 0, &bo));
}

TEST_HARNESS_MAIN
