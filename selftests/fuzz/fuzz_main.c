// SPDX-License-Identifier: GPL-2.0
/*
 * p2pbuf-fuzz [-n CALLS] [-t SECONDS] [-s SEED] [-p WORKERS] [-q] [-r|-R] [-l]
 *	       [-w WORKER [-g GENERATION] [-v]]
 *
 * Runs until CALLS calls were made (default 200,000) or SECONDS have passed
 * (default 60), in WORKERS processes (default 4) besides those that move,
 * evict and unbind (none with -q). Workers are killed by SIGKILL at some
 * instant and started again. -w replays the calls of one worker, of its
 * GENERATION, alone; -v prints each call before it is made. Where there is an
 * RDMA node, one step of 16 is about it, half of them with -r, and none with -R;
 * what the others do is not the same then. With -l all but one of 128 steps make
 * calls that have to be refused, which takes little time: many more are made
 * where every call is dear.
 *
 * Only for the test machine: it writes to its drives and unbinds its devices.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "kselftest.h"
#include "fuzz.h"

#define LIGHT_STEPS	128	/* one of them is not, with -l */
#define LIGHT_PACE	512	/* calls with -l for one without */
#define RDMA_STEPS	16	/* one of them is about RDMA */

struct fz_shared *fz;
struct fz_options fz_opt = {
	.calls = 200000, .seconds = 60, .workers = 4, .only = -1, .seed = 1,
	.rdma = RDMA_STEPS,
};

int fz_common[FZ_COMMON];
int fz_common_drm;
__u32 fz_common_handle[FZ_COMMON];

static __u64 deadline;
static bool must_rdma;
static struct fz_proc *self;	/* NULL in the main process */

static __u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* The time is looked at by the main process: it is dear to ask for. */
bool fz_over(void)
{
	if (fz->calls >= fz_opt.calls)
		fz->stop = 1;
	return fz->stop;
}

__u64 fz_pace(__u64 calls)
{
	return fz_opt.light ? calls * LIGHT_PACE : calls;
}

static void look_at_clock(void)
{
	if (now() >= deadline)
		fz->stop = 1;
}

/* ---- results --------------------------------------------------------------- */

/* Said at once: the machine may not live until the report. */
void fz_broken(const char *fmt, ...)
{
	char text[FZ_TEXT];
	unsigned int told;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	told = atomic_fetch_add(&fz->broken, 1);
	if (!told)
		memcpy(fz->first_broken, text, sizeof(text));
	if (told >= FZ_TOLD)
		return;
	if (self)
		dprintf(STDOUT_FILENO, "# broken: %s (-w %td -g %u, call %llu)\n",
			text, self - fz->proc, self->gen,
			(unsigned long long)self->calls);
	else
		dprintf(STDOUT_FILENO, "# broken: %s\n", text);
}

/* Names are constants of one program, so their addresses are the same in all. */
static struct fz_count *count_of(const char *name)
{
	unsigned int i;

	for (i = 0; i < FZ_COUNTS - 1; i++) {
		const char *none = NULL;

		if (fz->count[i].name == name)
			break;
		if (!fz->count[i].name &&
		    atomic_compare_exchange_strong(&fz->count[i].name, &none,
						   name))
			break;
		if (fz->count[i].name == name)
			break;
	}
	return &fz->count[i];
}

void fz_count_call(struct fz_proc *proc, const char *name, long ret,
		   const int *allowed)
{
	struct fz_count *c = count_of(name);
	unsigned int i, err = -ret;

	proc->calls++;
	fz->calls++;
	if (ret >= 0) {
		c->ok++;
		return;
	}
	c->failed++;
	if (err >= FZ_ERRNOS)
		err = 0;
	for (i = 0; allowed && allowed[i] && allowed[i] != (int)err; i++)
		;
	/* told of once */
	if (allowed && !allowed[i] && !c->err[err])
		fz_broken("%s: undocumented errno %ld, %s", name, -ret,
			  strerrorname_np(err) ?: "?");
	c->err[err]++;
}

long fz_done(struct fz_worker *w, const char *name, long ret,
	     const int *allowed)
{
	w->proc->at = name;
	fz_count_call(w->proc, name, ret, allowed);
	if (fz_opt.verbose)
		printf("%llu %s: %ld\n", (unsigned long long)w->proc->calls,
		       name, ret);
	return ret;
}

void fz_refused(struct fz_worker *w, const char *name, long ret,
		const int *allowed)
{
	if (fz_done(w, name, ret, allowed) >= 0)
		fz_broken("%s: not refused, but %ld", name, ret);
}

void fz_ioctl_refused(struct fz_worker *w, const char *name, int fd,
		      unsigned long request, const void *arg, size_t size,
		      const int *allowed)
{
	void *place = w->arena + FZ_ARENA - size;

	memcpy(place, arg, size);
	fz_refused(w, name, ptx_ioctl(fd, request, place), allowed);
}

static void report(void)
{
	unsigned int i, e;

	for (i = 0; i < FZ_COUNTS && fz->count[i].name; i++) {
		struct fz_count *c = &fz->count[i];

		printf("# %-18s %9llu ok %9llu refused:", c->name,
		       (unsigned long long)c->ok,
		       (unsigned long long)c->failed);
		for (e = 0; e < FZ_ERRNOS; e++)
			if (c->err[e])
				printf(" %s=%u", strerrorname_np(e) ?: "?",
				       c->err[e]);
		printf("\n");
	}
}

/* ---- a worker -------------------------------------------------------------- */

static void open_disks(struct fz_worker *w)
{
	/* Opened as the test may: only `main` and `error` for writing. */
	static const struct {
		const char *role;
		int flags;
	} disks[FZ_DISKS] = {
		{ "main", O_RDWR }, { "second", O_RDONLY },
		{ "error", O_RDWR }, { "main", O_RDONLY },
		{ "main", O_WRONLY }, { "multipath", O_RDONLY },
		{ "pi", O_RDONLY }, { "readonly", O_RDONLY },
		{ "error", O_RDWR | O_DIRECT },
	};
	char name[NAME_MAX + 1], path[PATH_MAX];
	unsigned int i;

	w->disks = 0;
	for (i = 0; i < FZ_DISKS; i++) {
		int fd;

		if (ptn_disk_name(disks[i].role, name, sizeof(name)))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", name);
		fd = open(path, disks[i].flags | O_CLOEXEC);
		if (fd >= 0)
			w->disk[w->disks++] = fd;
	}
}

static void open_junk(struct fz_worker *w)
{
	int pair[2];

	w->junk[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	w->junk[1] = memfd_create("fuzz", MFD_CLOEXEC);
	w->junk[2] = eventfd(0, EFD_CLOEXEC);
	w->junk[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK))
		memset(pair, -1, sizeof(pair));
	w->junk[4] = pair[0];
	w->junk[5] = pair[1];
	w->junk[6] = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	w->junk[7] = open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static void reopen_drm(struct fz_worker *w, unsigned int i)
{
	unsigned int k;

	if (w->drm[i] >= 0)
		close(w->drm[i]);
	w->drm[i] = ptx_open(i == 1);
	for (k = 0; k < FZ_BOS; k++)
		if (w->bo[k].drm == (int)i)
			memset(&w->bo[k], 0, sizeof(w->bo[k]));
}

/* Devices may have been replaced: go on with the new ones. */
static void reopen_devices(struct fz_worker *w)
{
	unsigned int i;

	for (i = 0; i < w->disks; i++)
		close(w->disk[i]);
	open_disks(w);
	reopen_drm(w, 1);
}

static void reopen_all(struct fz_worker *w)
{
	unsigned int i;

	for (i = 0; i < FZ_RINGS; i++)
		fz_ring_close(&w->ring[i]);
	reopen_devices(w);
	for (i = 0; i < FZ_DRMS; i++)
		if (i != 1)
			reopen_drm(w, i);
	for (i = 0; i < FZ_NODES; i++) {
		if (w->node[i] >= 0)
			close(w->node[i]);
		w->node[i] = ptn_open();
	}
	memset(w->id, 0, sizeof(w->id));
	if (w->disks)
		fz_guard_make(w);
}

/* Each time that a struct was placed there. */
static void *scribble(void *arg)
{
	struct fz_worker *w = arg;
	struct fz_rng rng = { .state = w->rng.state };
	unsigned int i;

	while (!fz_over()) {
		sem_wait(&w->race);
		for (i = 0; i < 512; i++)
			w->racy[fz_below(&rng, 128)] = fz_once_in(&rng, 2) ?
				0 : fz_next(&rng);
	}
	return NULL;
}

static int worker_start(struct fz_worker *w)
{
	pthread_t thread;
	unsigned int i;

	for (i = 0; i < FZ_BUFS; i++)
		w->buf[i] = i < FZ_COMMON ? fz_common[i] : -1;
	for (i = 0; i < FZ_DRMS; i++)
		w->drm[i] = -1;
	for (i = 0; i < FZ_NODES; i++)
		w->node[i] = -1;
	w->arena = mmap(NULL, FZ_ARENA + PTN_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	w->racy = ptn_memory(PTN_PAGE);
	if (w->arena == MAP_FAILED || !w->racy || sem_init(&w->race, 0, 0) ||
	    mprotect(w->arena + FZ_ARENA, PTN_PAGE, PROT_NONE))
		return -ENOMEM;
	open_junk(w);
	reopen_all(w);
	return pthread_create(&thread, NULL, scribble, w);
}

static void light_step(struct fz_worker *w)
{
	if (fz_opt.rdma && fz_once_in(&w->rng, 8))
		return fz_rdma_wrong(w);
	switch (fz_below(&w->rng, 8)) {
	case 0:
		return fz_ring_wrong(w);
	case 1 ... 4:
		return fz_drm_wrong(w);
	default:
		return fz_nvme_wrong(w);
	}
}

static void worker_step(struct fz_worker *w)
{
	if (fz_opt.light && !fz_once_in(&w->rng, LIGHT_STEPS))
		return light_step(w);
	if (fz_opt.rdma && fz_once_in(&w->rng, fz_opt.rdma))
		return fz_rdma(w);
	switch (fz_below(&w->rng, 64)) {
	case 0 ... 7:
		return fz_drm(w);
	case 8 ... 11:
		return fz_touch(w);
	case 12 ... 15:
		return fz_dmabuf(w);
	case 16 ... 27:
		return fz_nvme(w);
	case 28:
		return fz_file_io(w);
	default:
		return fz_ring(w);
	}
}

/*
 * Each step has numbers of its own: what the kernel answered in one does not
 * change what is tried in the next.
 */
static void worker(struct fz_proc *proc, struct fz_rng *steps)
{
	struct fz_worker *w = calloc(1, sizeof(*w));
	int gone = fz->devices_gone;
	unsigned int step;

	if (!w) {
		fz_broken("a worker has no memory");
		return;
	}
	w->proc = proc;
	w->rng.state = fz_next(steps);
	if (worker_start(w)) {
		fz_broken("a worker cannot start");
		return;
	}
	for (step = 1; !fz_over(); step++) {
		if (fz_opt.only >= 0)
			look_at_clock();
		w->rng.state = fz_next(steps);
		if (fz_opt.verbose)
			fflush(stdout);
		worker_step(w);
		if (step % 2048 == 0)
			fz_guard_check(w);
		if (step % 16384 == 0) {
			reopen_all(w);
		} else if (gone != fz->devices_gone) {
			/* or stay with what is dead */
			gone = fz->devices_gone;
			if (fz_once_in(&w->rng, 2))
				reopen_devices(w);
		}
	}
	fz_guard_check(w);
}

/* ---- all of them ----------------------------------------------------------- */

typedef void (*fz_role)(struct fz_proc *proc, struct fz_rng *rng);

static const fz_role background[] = { fz_mover, fz_evictor, fz_unbinder };

static void start(unsigned int i)
{
	struct fz_proc *proc = &fz->proc[i];
	struct fz_rng rng = { .state = fz_seed(fz_opt.seed, i, proc->gen) };
	pid_t pid;

	proc->calls = 0;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		self = proc;
		(i < fz_opt.workers ? worker :
				      background[i - fz_opt.workers])(proc, &rng);
		_exit(0);
	}
	proc->pid = pid > 0 ? pid : 0;
}

static void stop(unsigned int i, int sig)
{
	struct fz_proc *proc = &fz->proc[i];

	if (!proc->pid)
		return;
	if (sig)
		kill(proc->pid, sig);
	waitpid(proc->pid, NULL, 0);
	proc->pid = 0;
}

/* A process that ended by itself before its time. */
static void look_after(unsigned int i)
{
	struct fz_proc *proc = &fz->proc[i];
	int status;

	if (!proc->pid || waitpid(proc->pid, &status, WNOHANG) != proc->pid)
		return;
	proc->pid = 0;
	if (fz_over())
		return;
	fz_broken("process %u.%u ended with %#x in %s", i, proc->gen, status,
		  proc->at ?: "nothing");
	proc->gen++;
	start(i);
}

static void run_all(void)
{
	unsigned int i, n = fz_opt.workers;
	struct fz_rng rng = { .state = fz_seed(fz_opt.seed, FZ_PROCS, 0) };
	__u64 next_kill = fz_pace(5000), next_word = now() + 60;

	if (!fz_opt.quiet)
		n += FZ_ARRAY(background);
	for (i = 0; i < n; i++)
		start(i);
	while (!fz_over()) {
		usleep(20000);
		look_at_clock();
		for (i = 0; i < n; i++)
			look_after(i);
		if (now() >= next_word) {
			next_word += 60;
			ksft_print_msg("%llu calls\n",
				       (unsigned long long)fz->calls);
			fflush(stdout);
		}
		if (fz_opt.quiet || fz->calls < next_kill)
			continue;
		next_kill = fz->calls + fz_pace(2000 + fz_below(&rng, 30000));
		i = fz_below(&rng, fz_opt.workers);
		stop(i, SIGKILL);
		fz->proc[i].gen++;
		start(i);
	}
	for (i = 0; i < n; i++)
		stop(i, 0);
}

static void run_one(void)
{
	struct fz_proc *proc = &fz->proc[fz_opt.only];
	struct fz_rng rng = {
		.state = fz_seed(fz_opt.seed, fz_opt.only, fz_opt.gen),
	};

	proc->gen = fz_opt.gen;
	self = proc;
	worker(proc, &rng);
}

static int make_common(void)
{
	struct drm_p2pbuf_gem_create bo;
	unsigned int i;
	int ret;

	fz_common_drm = ptx_open(0);
	if (fz_common_drm < 0)
		return fz_common_drm;
	for (i = 0; i < FZ_COMMON; i++) {
		ret = ptx_create(fz_common_drm, 16 * PTN_PAGE << i,
				 P2PBUF_PLACEMENT_VRAM, 0, &bo);
		if (ret)
			return ret;
		fz_common_handle[i] = bo.handle;
		/* the last one can only be read */
		fz_common[i] = ptx_export(fz_common_drm, bo.handle,
					  i < FZ_COMMON - 1);
		if (fz_common[i] < 0)
			return fz_common[i];
	}
	return 0;
}

static void options(int argc, char **argv)
{
	const char *seed = getenv("P2PBUF_SEED");
	int c;

	if (seed && *seed)
		fz_opt.seed = strtoull(seed, NULL, 0);
	while ((c = getopt(argc, argv, "n:t:s:p:w:g:vqrRl")) != -1) {
		switch (c) {
		case 'n':
			fz_opt.calls = strtoull(optarg, NULL, 0);
			break;
		case 't':
			fz_opt.seconds = atoi(optarg);
			break;
		case 's':
			fz_opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			fz_opt.workers = atoi(optarg);
			break;
		case 'w':
			fz_opt.only = atoi(optarg);
			break;
		case 'g':
			fz_opt.gen = atoi(optarg);
			break;
		case 'v':
			fz_opt.verbose = true;
			break;
		case 'q':
			fz_opt.quiet = true;
			break;
		case 'r':
			fz_opt.rdma = 2;
			must_rdma = true;
			break;
		case 'R':
			fz_opt.rdma = 0;
			must_rdma = false;
			break;
		case 'l':
			fz_opt.light = true;
			break;
		default:
			ksft_exit_fail_msg("unknown option\n");
		}
	}
	if (!fz_opt.workers ||
	    fz_opt.workers + FZ_ARRAY(background) > FZ_PROCS ||
	    fz_opt.only >= FZ_PROCS)
		ksft_exit_fail_msg("1 to %zu workers\n",
				   FZ_PROCS - FZ_ARRAY(background));
}

int main(int argc, char **argv)
{
	unsigned int i, kills = 0;
	__u64 began = now();
	int ret;

	ksft_print_header();
	options(argc, argv);
	/* Set by the test machine, and by nobody else. */
	if (!getenv("P2PBUF_TOPOLOGY"))
		ksft_exit_skip("not on the test machine\n");
	ksft_set_plan(1);
	fz = mmap(NULL, sizeof(*fz), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fz == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	ret = fz_guard_disk_fill();
	if (ret)
		ksft_exit_skip("no second drive: %s\n", strerror(-ret));
	if (fz_opt.rdma && !fz_rdma_begin()) {
		if (must_rdma)
			ksft_exit_skip("no network for RDMA\n");
		ksft_print_msg("no network for RDMA\n");
		fz_rdma_end();
		fz_opt.rdma = 0;
	}
	fz_fixed_begin();
	ret = make_common();
	if (ret) {
		fz_fixed_end();
		if (ret == -ENODEV)
			ksft_exit_skip("no render node of the exporter\n");
		ksft_exit_fail_msg("buffers: %s\n", strerror(-ret));
	}
	deadline = now() + fz_opt.seconds;
	ksft_print_msg("seed %llu, %u workers, up to %llu calls or %u s\n",
		       (unsigned long long)fz_opt.seed, fz_opt.workers,
		       (unsigned long long)fz_opt.calls, fz_opt.seconds);
	fflush(stdout);
	if (fz_opt.only >= 0)
		run_one();
	else
		run_all();
	if (fz_opt.rdma)
		fz_rdma_end();
	fz_rebind();
	fz_fixed_end();
	fz_guard_disk_check();
	for (i = 0; i < fz_opt.workers; i++)
		kills += fz->proc[i].gen;
	report();
	ksft_print_msg("%llu calls in %llu s, %u kills, seed %llu\n",
		       (unsigned long long)fz->calls,
		       (unsigned long long)(now() - began), kills,
		       (unsigned long long)fz_opt.seed);
	/* The reason in the verdict's line: the report above it is long. */
	ksft_test_result(!fz->broken, "fuzz%s%s\n", fz->broken ? ": " : "",
			 fz->first_broken);
	ksft_finished();
}
