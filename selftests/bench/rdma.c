// SPDX-License-Identifier: GPL-2.0
/*
 * bench_rdma [-c]
 *
 * RDMA WRITEs over rxe, both ends in this guest, by the engine and, in the same
 * boot, by plain verbs between two regions of host memory. With the instruction
 * counter (counter.c), or with -c by the clock; then also how long an exporter
 * waits until its memory can move.
 *
 * A burst is `depth` writes submitted at once. The task sleeps until all are
 * done, so what is counted with one CPU is everything that is done for them, on
 * both sides: user space, system calls, the workers of rxe, the copies. A burst
 * in which the CPU idled is an outlier, and the median does not see it.
 *
 * Verbs take the provider's library: it runs in the build root (/ci/toolbox).
 * ci/guest/bench-rdma has made the RDMA device.
 */
#include <stdatomic.h>
#include <time.h>
#include <sys/utsname.h>

#include "bench.h"

#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_verbs.h"

#define EXIT_CANNOT	4

#define DEPTH		16U
#define BYTES		(DEPTH * MIB)
#define BURSTS		21
#define WARM		3
#define MOVES		101
#define MOVED		MIB
#define LOAD		(64 * KIB)

static const uint32_t sizes[] = { 4 * KIB, 64 * KIB, MIB };

static bool by_clock;
static const char *topology;

/* ---- rows ---- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void row(const char *name, uint32_t size, uint32_t depth,
		const char *unit, uint64_t *values, unsigned int n)
{
	struct utsname host;

	uname(&host);
	qsort(values, n, sizeof(*values), by_value);
	printf("rdma.tsv\t%s\t%u\t%u\t%s\t%s\t%llu\t%llu\t%llu\t%s\n", name,
	       size, depth, topology, unit,
	       (unsigned long long)values[n / 2],
	       (unsigned long long)values[n / 10],
	       (unsigned long long)values[n * 9 / 10], host.release);
	printf("  %-14s %8u bytes  %s %llu (%llu to %llu)\n", name, size, unit,
	       (unsigned long long)values[n / 2],
	       (unsigned long long)values[n / 10],
	       (unsigned long long)values[n * 9 / 10]);
	fflush(stdout);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* ---- ways to write ---- */

/**
 * struct way - one way to write
 * @name: as in the table
 * @open: everything that is needed
 * @burst: DEPTH writes of @size bytes, submitted at once; until all are done
 * @close: undoes @open
 *
 * Calls return 0 or -errno.
 */
struct way {
	const char *name;
	int (*open)(void);
	int (*burst)(uint32_t size);
	void (*close)(void);
};

static struct {
	struct ptv_pair pair;
	struct ibv_comp_channel *channel;
	struct ibv_mr *from;
	struct ibv_mr *to;
	char *memory;
} verbs;

static void verbs_close(void)
{
	if (verbs.from)
		ibv_dereg_mr(verbs.from);
	if (verbs.to)
		ibv_dereg_mr(verbs.to);
	if (verbs.pair.ctx)
		ptv_close(&verbs.pair);
	if (verbs.channel)
		ibv_destroy_comp_channel(verbs.channel);
	if (verbs.memory)
		munmap(verbs.memory, 2 * BYTES);
	memset(&verbs, 0, sizeof(verbs));
}

static int verbs_open(void)
{
	struct ptv_pair *p = &verbs.pair;
	int ret;

	p->ctx = ptv_open(PTD_RXE);
	if (!p->ctx)
		return -ENODEV;
	verbs.memory = ptn_memory(2 * BYTES);
	verbs.channel = ibv_create_comp_channel(p->ctx);
	p->pd = ibv_alloc_pd(p->ctx);
	if (!verbs.memory || !verbs.channel || !p->pd)
		return -ENOMEM;
	p->cq = ibv_create_cq(p->ctx, 64, NULL, verbs.channel, 0);
	verbs.from = ibv_reg_mr(p->pd, verbs.memory, BYTES, PTV_ALL);
	verbs.to = ibv_reg_mr(p->pd, verbs.memory + BYTES, BYTES, PTV_ALL);
	if (!p->cq || !verbs.from || !verbs.to)
		return -ENOMEM;
	ret = ptv_find_gid(p);
	return ret ? ret : ptv_connect(p);
}

static int verbs_post(uint32_t size)
{
	struct ibv_send_wr wr[DEPTH], *bad;
	struct ibv_sge sge[DEPTH];
	uint32_t i;

	for (i = 0; i < DEPTH; i++) {
		sge[i] = (struct ibv_sge){
			.addr = (uintptr_t)verbs.memory + i * size,
			.length = size, .lkey = verbs.from->lkey,
		};
		wr[i] = (struct ibv_send_wr){
			.next = i + 1 < DEPTH ? &wr[i + 1] : NULL,
			.sg_list = &sge[i], .num_sge = 1,
			.opcode = IBV_WR_RDMA_WRITE,
			.send_flags = IBV_SEND_SIGNALED,
			.wr.rdma = {
				.remote_addr = (uintptr_t)verbs.memory +
					       BYTES + i * size,
				.rkey = verbs.to->rkey,
			},
		};
	}
	return -ibv_post_send(verbs.pair.qp[0], wr, &bad);
}

/* Until there is something to poll for. */
static int verbs_sleep(void)
{
	struct ibv_cq *cq;
	void *context;

	if (ibv_get_cq_event(verbs.channel, &cq, &context))
		return -errno;
	ibv_ack_cq_events(cq, 1);
	return 0;
}

static int verbs_burst(uint32_t size)
{
	struct ibv_wc wc[DEPTH];
	uint32_t done = 0;
	int i, n, ret;

	ret = -ibv_req_notify_cq(verbs.pair.cq, 0);
	if (!ret)
		ret = verbs_post(size);
	while (!ret && done < DEPTH) {
		ret = verbs_sleep();
		if (!ret)
			ret = -ibv_req_notify_cq(verbs.pair.cq, 0);
		/* What came before it was asked for makes no event. */
		while (!ret && (n = ibv_poll_cq(verbs.pair.cq, DEPTH, wc)) > 0)
			for (i = 0; i < n; i++, done++)
				if (wc[i].status)
					ret = -EIO;
	}
	return ret;
}

/* Two ends, and a buffer on each. */
static struct {
	struct ptd_pair pair;
	struct ptn_buffer buffers[2];
} engine;

static void engine_close(void)
{
	ptd_pair_close(&engine.pair);
	ptn_buffer_free(&engine.buffers[0]);
	ptn_buffer_free(&engine.buffers[1]);
}

static int engine_open(enum ptn_kind kind)
{
	struct p2pbuf_rdma_remote_info info;
	int i, ret = 0;

	memset(&engine, 0, sizeof(engine));
	for (i = 0; i < 2 && !ret; i++)
		ret = ptn_buffer_alloc(&engine.buffers[i], kind, BYTES);
	if (!ret)
		ret = ptd_pair_open(&engine.pair);
	if (ret)
		return ret;
	ret = ptd_import(engine.pair.a.fd, engine.buffers[0].dmabuf, 1);
	if (ret == 1)
		ret = ptd_import(engine.pair.b.fd, engine.buffers[1].dmabuf, 1);
	if (ret != 1)
		return ret;
	ret = ptd_grant(engine.pair.b.fd, 1, PTD_BOTH);
	return ret ? ret : ptd_remote_info(engine.pair.a.fd, 1, PTD_MS, &info);
}

static int engine_open_host(void)
{
	return engine_open(PTN_UDMABUF);
}

static int engine_open_vram(void)
{
	return engine_open(PTN_VRAM);
}

/* DEPTH writes from buffer 1 to buffer 1, until all are done. */
static int engine_write(struct ptd_end *a, uint32_t size)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;
	uint32_t i;
	int ret;

	for (i = 0; i < DEPTH; i++) {
		const struct p2pbuf_rdma_cmd cmd = {
			.local_id = 1, .remote_id = 1, .length = size,
			.local_offset = (uint64_t)i * size,
			.remote_offset = (uint64_t)i * size,
		};

		ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd, i);
	}
	ret = io_uring_submit_and_wait(&a->ring, DEPTH);
	if (ret < 0)
		return ret;
	ret = 0;
	io_uring_for_each_cqe(&a->ring, head, cqe) {
		n++;
		if (cqe->res != (int)size)
			ret = cqe->res < 0 ? cqe->res : -EIO;
	}
	io_uring_cq_advance(&a->ring, n);
	return n == DEPTH ? ret : -EIO;
}

static int engine_burst(uint32_t size)
{
	return engine_write(&engine.pair.a, size);
}

static const struct way ways[] = {
	{ "verbs", verbs_open, verbs_burst, verbs_close },
	{ "engine", engine_open_host, engine_burst, engine_close },
	{ "engine-vram", engine_open_vram, engine_burst, engine_close },
};

static int measure(const struct way *way, uint32_t size)
{
	uint64_t values[BURSTS], start, ns;
	int i, ret = 0;

	for (i = -WARM; i < BURSTS && !ret; i++) {
		start = by_clock ? now_ns() : bench_counter();
		ret = way->burst(size);
		ns = (by_clock ? now_ns() : bench_counter()) - start;
		if (i >= 0)
			values[i] = !by_clock ? ns / DEPTH :
				    DEPTH * size * 1000000000ull / ns;
	}
	if (!ret)
		row(way->name, size, DEPTH, by_clock ? "bytes_per_second" :
		    "instructions_per_write", values, BURSTS);
	return ret;
}

static int measure_way(const struct way *way)
{
	unsigned int i;
	int ret;

	ret = way->open();
	for (i = 0; i < ARRAY_SIZE(sizes) && !ret; i++)
		ret = measure(way, sizes[i]);
	way->close();
	if (ret)
		fprintf(stderr, "bench_rdma: %s: %s\n", way->name,
			strerror(-ret));
	return ret;
}

/* ---- how long an exporter waits ---- */

/**
 * struct moving - a buffer that moves, and what is done with it meanwhile
 * @pair: the connection
 * @mock: the exporter
 * @here: of the caller
 * @there: of the called, which moves
 * @quit: the load is to end
 * @error: of it
 */
struct moving {
	struct ptd_pair pair;
	int mock;
	int here;
	int there;
	atomic_bool quit;
	int error;
};

static void *load_run(void *arg)
{
	struct moving *m = arg;

	while (!m->error && !atomic_load(&m->quit))
		m->error = engine_write(&m->pair.a, LOAD);
	return NULL;
}

static int moving_open(struct moving *m)
{
	int ret;

	m->pair.limits = (struct p2pbuf_rdma_limits){
		.recall_ms = P2PBUF_RDMA_MAX_RECALL_MS,
	};
	m->mock = ptm_open();
	m->here = ptm_create(m->mock, MOVED, P2PBUF_MOCK_PAGES, 0);
	m->there = ptm_create(m->mock, MOVED, P2PBUF_MOCK_PAGES, 0);
	if (m->mock < 0 || m->here < 0 || m->there < 0)
		return -ENODEV;
	ret = ptd_pair_open(&m->pair);
	if (!ret && (ptd_import(m->pair.a.fd, m->here, 1) != 1 ||
		     ptd_import(m->pair.b.fd, m->there, 1) != 1))
		ret = -EIO;
	return ret ? ret : ptd_grant(m->pair.b.fd, 1, PTD_BOTH);
}

static void moving_close(struct moving *m)
{
	ptd_pair_close(&m->pair);
	close(m->here);
	close(m->there);
	close(m->mock);
}

/* Each from a buffer that the peer has been granted. */
static int moves(struct moving *m, const char *name)
{
	struct p2pbuf_rdma_remote_info info;
	uint64_t values[MOVES];
	struct p2pbuf_mock_move arg;
	int i, ret = 0;

	for (i = 0; i < MOVES && !ret; i++) {
		ret = ptd_remote_info(m->pair.a.fd, 1, PTD_MS, &info);
		arg = ptm_move_arg(m->there, P2PBUF_MOCK_PAGES, 0);
		if (!ret)
			ret = ptm_ioctl(m->mock, P2PBUF_MOCK_MOVE, &arg);
		values[i] = arg.fence_us;
	}
	if (!ret)
		row(name, MOVED, 1, "microseconds", values, MOVES);
	return ret;
}

static int measure_moves(void)
{
	struct moving m = {};
	pthread_t thread;
	int ret;

	ret = moving_open(&m);
	if (!ret)
		ret = moves(&m, "move-idle");
	if (!ret)
		ret = -pthread_create(&thread, NULL, load_run, &m);
	if (!ret) {
		ret = moves(&m, "move-load");
		atomic_store(&m.quit, true);
		pthread_join(thread, NULL);
		ret = ret ? ret : m.error;
	}
	moving_close(&m);
	if (ret)
		fprintf(stderr, "bench_rdma: moves: %s\n", strerror(-ret));
	return ret;
}

int main(int argc, char **argv)
{
	const char *t = getenv("P2PBUF_TOPOLOGY"), *last;
	char why[256];
	unsigned int i;
	int ret = 0;

	by_clock = argc > 1 && !strcmp(argv[1], "-c");
	last = t ? strrchr(t, '/') : NULL;
	topology = last ? last + 1 : t ? t : "unknown";
	if (!by_clock && bench_calibrate(why, sizeof(why))) {
		fprintf(stderr, "bench_rdma: %s\n", why);
		return EXIT_CANNOT;
	}
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		ret |= measure_way(&ways[i]);
	if (by_clock)
		ret |= measure_moves();
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
