// SPDX-License-Identifier: GPL-2.0
/*
 * Lives that end early: devices that are unbound (invariant 10), tasks that
 * are stopped or killed while they map, processes that die with everything
 * open, modules that are asked to go. And lives that are crowded.
 */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_core.h"

#define ATTACHMENTS	"/sys/kernel/debug/p2pbuf/attachments"

FIXTURE(life) { struct ptc c; };
FIXTURE_VARIANT(life) { __u32 placement; };
FIXTURE_VARIANT_ADD(life, pages) { .placement = P2PBUF_MOCK_PAGES, };
FIXTURE_VARIANT_ADD(life, bar) { .placement = P2PBUF_MOCK_BAR, };

FIXTURE_SETUP(life)
{
	ptc_begin(_metadata, &self->c, variant->placement);
}

FIXTURE_TEARDOWN(life)
{
	ptc_end(_metadata, &self->c);
}

#define PUT_IRQ(us) ptm_put(self->c.mock, self->c.imp, P2PBUF_MOCK_HARDIRQ, us)
#define FENCE()	 ptm_fence(self->c.mock, self->c.buf, P2PBUF_MOCK_KERNEL, 0, 0)
#define SIGNAL(id) ptm_call(self->c.mock, P2PBUF_MOCK_SIGNAL, id)

/* ---- unbind ------------------------------------------------------------------ */

/**
 * struct unbinding - an unbind by a thread
 * @name: of the function
 * @ret: what came of it, once @done
 * @done: it is over
 */
struct unbinding {
	const char *name;
	int ret;
	int done;
	pthread_t thread;
};

static void *unbind_run(void *arg)
{
	struct unbinding *u = arg;

	u->ret = ptm_unbind(u->name);
	__atomic_store_n(&u->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void unbind_start(struct unbinding *u, const char *name)
{
	*u = (struct unbinding){ .name = name };
	if (pthread_create(&u->thread, NULL, unbind_run, u))
		abort();
}

static bool unbind_done(struct unbinding *u)
{
	return __atomic_load_n(&u->done, __ATOMIC_ACQUIRE);
}

static int unbind_finish(struct unbinding *u)
{
	if (!ptm_until(unbind_done(u)))
		return -EINPROGRESS;
	pthread_join(u->thread, NULL);
	return u->ret;
}

static int bind_again(struct ptc *c)
{
	return ptm_bind_to(c->dev.name, P2PBUF_MOCK_DRIVER);
}

/* Everything on the device is over, and stays so when it is bound again. */
#define EXPECT_GONE() do {						\
	EXPECT_EQ(1, IMPORTER().revoked);				\
	EXPECT_EQ(1, IMPORTER().dead);					\
	EXPECT_EQ(-ENODEV, GET());					\
	EXPECT_EQ(-ENODEV, MAP());					\
	EXPECT_EQ(-ENODEV, ptm_io(self->c.mock, self->c.imp, 0, 1, 0));	\
	EXPECT_EQ(0, BUFFER().live);					\
	EXPECT_EQ(BUFFER().attaches, BUFFER().detaches);		\
} while (0)

TEST_F(life, unbind)
{
	int imp;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, ptm_unbind(self->c.dev.name));
	EXPECT_GONE();
	EXPECT_EQ(-ENODEV, ptm_import(self->c.mock, self->c.buf,
				      P2PBUF_MOCK_CORE, self->c.dev.name, 0));
	ASSERT_EQ(0, bind_again(&self->c));
	EXPECT_GONE();
	imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
			 self->c.dev.name, 0);
	ASSERT_LT(0, imp);
	EXPECT_EQ(0, ptm_io(self->c.mock, imp, 8, 5, 0));
	EXPECT_TRUE(ptm_until(!ptm_import_info(self->c.mock, imp).active));
	EXPECT_EQ(5, ptm_word(self->c.mock, self->c.buf, 8));
	EXPECT_EQ(0, ptm_import_info(self->c.mock, imp).dead);
}

TEST_F(life, unbind_never_mapped)
{
	ASSERT_EQ(0, ptm_unbind(self->c.dev.name));
	EXPECT_GONE();
	ASSERT_EQ(0, bind_again(&self->c));
}

/* The device's I/O ends first. */
TEST_F(life, unbind_active)
{
	struct unbinding unbind;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	ASSERT_EQ(0, GET());
	unbind_start(&unbind, self->c.dev.name);
	EXPECT_TRUE(ptm_until(!IMPORTER().mapped));
	/* No new I/O from the moment it began. */
	EXPECT_EQ(-ENODEV, GET());
	EXPECT_EQ(-ENODEV, ptm_io(self->c.mock, self->c.imp, 0, 1, 0));
	ptm_sleep_ms(PTM_SHORT_MS);
	EXPECT_FALSE(unbind_done(&unbind));
	EXPECT_EQ(1, BUFFER().live);
	ASSERT_EQ(0, PUT_IRQ(0));
	ptm_sleep_ms(PTM_SHORT_MS);
	EXPECT_FALSE(unbind_done(&unbind));
	ASSERT_EQ(0, PUT_IRQ(0));
	EXPECT_EQ(0, unbind_finish(&unbind));
	EXPECT_GONE();
	ASSERT_EQ(0, bind_again(&self->c));
}

/* A mapper that waits for the exporter does not hold up the unbind. */
TEST_F(life, unbind_while_mapping)
{
	struct unbinding unbind;
	struct ptm_job map;
	int fence = FENCE();

	ASSERT_LT(0, fence);
	ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP, self->c.imp);
	EXPECT_TRUE(ptm_blocked(&map));
	unbind_start(&unbind, self->c.dev.name);
	EXPECT_EQ(0, unbind_finish(&unbind));
	EXPECT_EQ(-ENODEV, ptm_finish(&map));
	EXPECT_EQ(0, SIGNAL(fence));
	EXPECT_GONE();
	ASSERT_EQ(0, bind_again(&self->c));
}

/* An exporter that holds the resv delays it, and no longer than that. */
TEST_F(life, unbind_while_the_resv_is_held)
{
	struct unbinding unbind;
	int hold;

	ASSERT_EQ(0, MAP());
	hold = ptm_hold(self->c.mock, self->c.buf, P2PBUF_MOCK_HOLD_PLAIN,
			PTM_LONG_MS);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_HELD,
				   PTM_LONG_MS));
	unbind_start(&unbind, self->c.dev.name);
	ptm_sleep_ms(PTM_SHORT_MS);
	EXPECT_FALSE(unbind_done(&unbind));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_RELEASE, hold));
	EXPECT_EQ(0, unbind_finish(&unbind));
	EXPECT_GONE();
	ASSERT_EQ(0, bind_again(&self->c));
}

/* Unbound and closed at the same time: one of them does it, both return. */
TEST_F(life, unbind_while_closing)
{
	struct unbinding unbind;
	struct ptm_job close_job;
	int i, imp;

	for (i = 0; i < 10; i++) {
		imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
				 self->c.dev.name, 0);
		ASSERT_LT(0, imp);
		ASSERT_EQ(0, ptm_io(self->c.mock, imp, 0, 1, 20000));
		unbind_start(&unbind, self->c.dev.name);
		ptm_start_call(&close_job, self->c.mock, P2PBUF_MOCK_CLOSE,
			       imp);
		EXPECT_EQ(0, ptm_finish(&close_job));
		EXPECT_EQ(0, unbind_finish(&unbind));
		EXPECT_EQ(0, BUFFER().live);
		ASSERT_EQ(0, bind_again(&self->c));
	}
}

/*
 * Whoever closes it has detached and is busy with freeing what the device used:
 * the driver stays for as long.
 */
TEST_F(life, unbind_while_closing_slowly)
{
	struct unbinding unbind;
	struct ptm_job close_job;
	int imp;

	imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
			 self->c.dev.name, 0);
	ASSERT_LT(0, imp);
	ASSERT_EQ(0, ptm_io(self->c.mock, imp, 0, 1, 0));
	ASSERT_EQ(0, ptm_fill_rule(self->c.mock, imp, 0, 0, 4 * PTM_SHORT_MS));
	ptm_start_call(&close_job, self->c.mock, P2PBUF_MOCK_CLOSE, imp);
	/* Ours is the other one. */
	EXPECT_TRUE(ptm_until(BUFFER().attaches == BUFFER().detaches + 1));
	unbind_start(&unbind, self->c.dev.name);
	EXPECT_EQ(0, unbind_finish(&unbind));
	EXPECT_EQ(0, IMPORTER().late);
	EXPECT_EQ(0, ptm_finish(&close_job));
	EXPECT_GONE();
	ASSERT_EQ(0, bind_again(&self->c));
}

/* The exporter's device goes; the importer's mapping with it. */
TEST_F(life, unbind_the_exporter)
{
	struct unbinding unbind;

	if (variant->placement != P2PBUF_MOCK_BAR)
		SKIP(return, "no BAR");
	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	unbind_start(&unbind, self->c.bar.name);
	EXPECT_TRUE(ptm_until(!IMPORTER().mapped));
	ptm_sleep_ms(PTM_SHORT_MS);
	EXPECT_FALSE(unbind_done(&unbind));
	ASSERT_EQ(0, PUT_IRQ(0));
	EXPECT_EQ(0, unbind_finish(&unbind));
	EXPECT_EQ(0, BUFFER().live);
	EXPECT_EQ(-ENODEV, MAP());
	EXPECT_EQ(-ENODEV, ptm_io(self->c.mock, self->c.imp, 0, 1, 0));
	/* The attachment is alive; it is the memory that is gone. */
	EXPECT_EQ(0, IMPORTER().dead);
	ASSERT_EQ(0, ptm_bind_to(self->c.bar.name, P2PBUF_MOCK_DRIVER));
	EXPECT_EQ(-ENODEV, MAP());
}

/* ---- signals -------------------------------------------------------------------- */

/* A child that maps; its exit status is 0, or the errno of mapping. */
static pid_t mapper(struct ptc *c)
{
	pid_t child = fork();

	if (!child)
		_exit(-ptm_call(c->mock, P2PBUF_MOCK_MAP, c->imp));
	return child;
}

/* The task's state as ps(1) has it, 0 if there is no such task. */
static char state_of(pid_t pid)
{
	char path[64], text[512], *p;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	p = strrchr(text, ')');
	return p ? p[2] : 0;
}

/* Is the task inside of an ioctl and asleep? */
static bool asleep(pid_t pid)
{
	char state = state_of(pid);

	return state == 'S' || state == 'D';
}

TEST_F(life, stop_and_continue_a_mapper)
{
	int fence = FENCE(), status, i;
	pid_t child;

	ASSERT_LT(0, fence);
	child = mapper(&self->c);
	ASSERT_LT(0, child);
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(ptm_until(asleep(child)))
			TH_LOG("round %d: state %c", i, state_of(child));
		ASSERT_EQ(0, kill(child, SIGSTOP));
		ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		/* A stopped mapper is in nobody's way. */
		EXPECT_EQ(0, BUFFER().locked);
		ASSERT_EQ(0, kill(child, SIGCONT));
		ASSERT_EQ(child, waitpid(child, &status, WCONTINUED));
	}
	ASSERT_EQ(0, kill(child, SIGSTOP));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	EXPECT_EQ(0, SIGNAL(fence));
	/* Another one can map meanwhile. */
	EXPECT_EQ(0, MAP());
	ASSERT_EQ(0, kill(child, SIGCONT));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_EQ(1, BUFFER().maps);
}

TEST_F(life, kill_a_mapper_that_waits_for_a_fence)
{
	int fence = FENCE(), status, i;

	ASSERT_LT(0, fence);
	for (i = 0; i < 10; i++) {
		pid_t child = mapper(&self->c);

		ASSERT_LT(0, child);
		ASSERT_TRUE(ptm_until(asleep(child)))
			TH_LOG("round %d: state %c", i, state_of(child));
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_EQ(0, BUFFER().maps);
	EXPECT_EQ(0, SIGNAL(fence));
	EXPECT_EQ(0, MAP());
}

/* It waits for the I/O of the last generation, or for another mapper. */
TEST_F(life, kill_a_mapper_that_waits_for_io)
{
	struct p2pbuf_mock_move arg;
	struct ptm_job map;
	int status, i;

	ASSERT_EQ(0, MAP());
	ASSERT_EQ(0, GET());
	arg = ptm_move_arg(self->c.buf, variant->placement, 0);
	arg.wait_ms = 1;
	ASSERT_EQ(-ETIME, ptm_ioctl(self->c.mock, P2PBUF_MOCK_MOVE, &arg));
	for (i = 0; i < 10; i++) {
		pid_t child;

		if (i == 5)
			ptm_start_call(&map, self->c.mock, P2PBUF_MOCK_MAP,
				       self->c.imp);
		child = mapper(&self->c);
		ASSERT_LT(0, child);
		ASSERT_TRUE(ptm_until(asleep(child)))
			TH_LOG("round %d: state %c", i, state_of(child));
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_FALSE(ptm_done(&map));
	EXPECT_EQ(0, PUT_IRQ(0));
	EXPECT_EQ(0, ptm_finish(&map));
	EXPECT_EQ(2, BUFFER().maps);
}

static void nothing(int sig)
{
	(void)sig;
}

/* A handler: the call is restarted, or ends with EINTR, as the handler says. */
TEST_F(life, signal_handlers)
{
	struct sigaction action = { .sa_handler = nothing };
	int fence = FENCE(), status, restart;

	ASSERT_LT(0, fence);
	for (restart = 0; restart < 2; restart++) {
		pid_t child;

		action.sa_flags = restart ? SA_RESTART : 0;
		ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
		child = mapper(&self->c);
		ASSERT_LT(0, child);
		ASSERT_TRUE(ptm_until(asleep(child)))
			TH_LOG("state %c", state_of(child));
		ASSERT_EQ(0, kill(child, SIGUSR1));
		if (restart) {
			ptm_sleep_ms(PTM_SHORT_MS);
			ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
			EXPECT_EQ(0, SIGNAL(fence));
		}
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		EXPECT_EQ(restart ? 0 : EINTR, WEXITSTATUS(status));
	}
}

/* ---- processes that die ------------------------------------------------------------ */

/* Whatever a process had, on its own open files, with I/O under way. */
static void live_and_die(const char *dev, __u32 placement)
{
	int mock = ptm_open(), buf, imp, i;

	buf = ptm_create(mock, PTC_SIZE, placement, P2PBUF_MOCK_SHUFFLE);
	for (i = 0; i < 4; i++) {
		imp = ptm_import(mock, buf, P2PBUF_MOCK_CORE, dev, 0);
		ptm_io(mock, imp, 0, i, 300000);
		ptm_call(mock, P2PBUF_MOCK_GET, imp);
	}
	imp = ptm_import(mock, buf, P2PBUF_MOCK_NOTIFIED, dev,
			 P2PBUF_MOCK_P2P | P2PBUF_MOCK_LAZY);
	ptm_call(mock, P2PBUF_MOCK_MAP, imp);
	ptm_call(mock, P2PBUF_MOCK_PIN, imp);
	ptm_fence(mock, buf, P2PBUF_MOCK_KERNEL, 0, P2PBUF_MOCK_NEEDS_RESV);
	ptm_fence(mock, buf, P2PBUF_MOCK_KERNEL, PTM_LONG_MS, 0);
	/* From here on nothing gets the resv: references are never dropped. */
	ptm_hold(mock, buf, P2PBUF_MOCK_HOLD_KFD, PTM_LONG_MS);
	raise(SIGKILL);
}

TEST_F_TIMEOUT(life, die_with_everything_open, 60)
{
	int before = ptk_lines(ATTACHMENTS), status, i;

	if (before == -ENOENT)
		SKIP(return, "no debugfs");
	ASSERT_LE(1, before);
	for (i = 0; i < 10; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child)
			live_and_die(self->c.dev.name, variant->placement);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_TRUE(ptm_until(ptk_lines(ATTACHMENTS) == before));
	EXPECT_EQ(0, MAP());
}

/* Somebody who reads debugfs while the resv is held keeps nobody waiting. */
TEST_F(life, debugfs_does_not_wait)
{
	int hold, other, imp;

	hold = ptm_hold(self->c.mock, self->c.buf, P2PBUF_MOCK_HOLD_PLAIN,
			2 * PTM_LONG_MS);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->c.mock, hold, P2PBUF_MOCK_HOLD_HELD,
				   PTM_LONG_MS));
	EXPECT_LE(1, ptk_lines(ATTACHMENTS));
	EXPECT_EQ(-ETIME, ptm_hold_wait(self->c.mock, hold,
					P2PBUF_MOCK_HOLD_DONE, 1));
	other = ptm_create(self->c.mock, PTM_PAGE, variant->placement, 0);
	ASSERT_LE(0, other);
	imp = ptm_import(self->c.mock, other, P2PBUF_MOCK_CORE,
			 self->c.dev.name, 0);
	ASSERT_LT(0, imp);
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_CLOSE, imp));
	EXPECT_EQ(-ETIME, ptm_hold_wait(self->c.mock, hold,
					P2PBUF_MOCK_HOLD_DONE, 1));
	EXPECT_EQ(0, ptm_call(self->c.mock, P2PBUF_MOCK_RELEASE, hold));
	close(other);
}

/* ---- modules --------------------------------------------------------------------------- */

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* What is used does not go. */
TEST_F(life, modules_in_use_stay)
{
	EXPECT_EQ(-EWOULDBLOCK, unload("p2pbuf_core"));
	EXPECT_EQ(-EWOULDBLOCK, unload("p2pbuf_mock"));
	EXPECT_EQ(0, MAP());
	/* The importer keeps the buffer, and that the exporter. */
	ASSERT_EQ(0, GET());
	close(self->c.buf);
	EXPECT_EQ(-EWOULDBLOCK, unload("p2pbuf_mock"));
	EXPECT_EQ(0, PUT_IRQ(0));
	self->c.buf = ptm_create(self->c.mock, PTC_SIZE, P2PBUF_MOCK_PAGES, 0);
}

/* ---- crowds ------------------------------------------------------------------------------ */

#define CROWD	64

TEST_F_TIMEOUT(life, many_importers, 60)
{
	int imp[CROWD], i, round;

	for (i = 0; i < CROWD; i++) {
		imp[i] = ptm_import(self->c.mock, self->c.buf,
				    P2PBUF_MOCK_CORE, self->c.dev.name, 0);
		ASSERT_LT(0, imp[i]);
	}
	for (round = 0; round < 5; round++) {
		for (i = 0; i < CROWD; i++)
			ASSERT_EQ(0, ptm_io(self->c.mock, imp[i], 8 * i,
					    round * 1000 + i, i * 50));
		ASSERT_EQ(0, ptm_move(self->c.mock, self->c.buf,
				      variant->placement, round % 2 ?
				      P2PBUF_MOCK_PIPELINED : 0));
		for (i = 0; i < CROWD; i++)
			EXPECT_EQ(round * 1000 + i,
				  ptm_word(self->c.mock, self->c.buf, 8 * i));
	}
	EXPECT_EQ(CROWD * 5, BUFFER().maps);
	EXPECT_EQ(0, BUFFER().live);
	/* All of them on one device: one unbind ends them all. */
	for (i = 0; i < CROWD; i++)
		ASSERT_EQ(0, ptm_io(self->c.mock, imp[i], 8 * i, i, 5000));
	ASSERT_EQ(0, ptm_unbind(self->c.dev.name));
	for (i = 0; i < CROWD; i++) {
		struct p2pbuf_mock_import_info info =
			ptm_import_info(self->c.mock, imp[i]);

		EXPECT_EQ(1, info.dead);
		EXPECT_EQ(1, info.revoked);
		EXPECT_EQ(0, info.revoked_active);
		EXPECT_EQ(0, info.active);
	}
	EXPECT_EQ(CROWD + 1, BUFFER().detaches);
	ASSERT_EQ(0, bind_again(&self->c));
}

/* Many tasks that find no mapping make one mapping. */
TEST_F(life, many_mappers)
{
	struct ptm_job jobs[CROWD];
	int fence, i, round;

	for (round = 0; round < 5; round++) {
		fence = FENCE();
		ASSERT_LT(0, fence);
		for (i = 0; i < CROWD; i++)
			ptm_start_call(&jobs[i], self->c.mock, P2PBUF_MOCK_MAP,
				       self->c.imp);
		EXPECT_TRUE(ptm_blocked(&jobs[0]));
		EXPECT_EQ(0, SIGNAL(fence));
		for (i = 0; i < CROWD; i++)
			EXPECT_EQ(0, ptm_finish(&jobs[i]));
		EXPECT_EQ(round + 1, BUFFER().maps);
		ASSERT_EQ(0, ptm_move(self->c.mock, self->c.buf,
				      variant->placement, 0));
	}
}

/* Many buffers at once on one device; each moves by itself. */
TEST_F_TIMEOUT(life, many_buffers, 60)
{
	int buf[CROWD], imp[CROWD], i;

	for (i = 0; i < CROWD; i++) {
		buf[i] = ptm_create(self->c.mock, PTM_PAGE,
				    variant->placement, 0);
		ASSERT_LE(0, buf[i]);
		imp[i] = ptm_import(self->c.mock, buf[i], P2PBUF_MOCK_CORE,
				    self->c.dev.name, 0);
		ASSERT_LT(0, imp[i]);
		ASSERT_EQ(0, ptm_io(self->c.mock, imp[i], 0, i, 1000));
	}
	for (i = 0; i < CROWD; i += 2)
		ASSERT_EQ(0, ptm_move(self->c.mock, buf[i],
				      variant->placement, 0));
	for (i = 0; i < CROWD; i++) {
		EXPECT_EQ(i % 2, ptm_import_info(self->c.mock, imp[i]).mapped);
		EXPECT_TRUE(ptm_until(!ptm_import_info(self->c.mock,
						       imp[i]).active));
		EXPECT_EQ(i, ptm_word(self->c.mock, buf[i], 0));
		close(buf[i]);
	}
}

TEST_HARNESS_MAIN
