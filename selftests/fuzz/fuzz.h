/* SPDX-License-Identifier: GPL-2.0 */
/*
 * p2pbuf-fuzz: calls by chance at everything that user space can reach.
 *
 * What is chosen follows from the seed, the number of the process and how
 * often it was started again, and from nothing that the kernel answered: the
 * same three give the same calls. What the answers put into the tables below
 * (handles, ids, descriptors) takes part by its place in the table.
 *
 * fuzz_main.c        options, processes, kills, the report
 * fuzz_value.c       numbers and structs that are nearly right
 * fuzz_drm.c         the exporter's render node, CPU mappings
 * fuzz_dmabuf.c      dma-buf descriptors, foreign exporters
 * fuzz_nvme.c        ioctls of /dev/p2pbuf-nvme
 * fuzz_ring.c        commands on io_uring
 * fuzz_fixed.c       fixed buffers of a paged region
 * fuzz_rdma.c        both ends of an RDMA connection, where there is RDMA
 * fuzz_guard.c       what no call may ever change
 * fuzz_background.c  moves, eviction, drivers unbound and bound again
 *
 * Oracles: the kernel's own checkers; each errno must be one that the uapi
 * headers name; a command that succeeds transferred all its bytes; bytes
 * beside a binding's range, of a read-only disk and of a read-only binding
 * stay as they are; a call with exactly one thing wrong (fz_*_wrong()) fails.
 */
#ifndef P2PBUF_FUZZ_H
#define P2PBUF_FUZZ_H

#include <semaphore.h>
#include <stdatomic.h>

#include "p2pbuf_test_nvme.h"

#define FZ_ARRAY(a)	(sizeof(a) / sizeof((a)[0]))
#define FZ_PROCS	16
#define FZ_ERRNOS	160
#define FZ_TOLD		64	/* contradictions that are printed */
#define FZ_TEXT		160	/* bytes of one */

#define FZ_BOS		16
#define FZ_BUFS		24
#define FZ_COMMON	6	/* of FZ_BUFS: shared by all, and moved */
#define FZ_UDMABUFS	18	/* from this one of FZ_BUFS on: udmabufs only */
#define FZ_NODES	3
#define FZ_IDS		12
#define FZ_RINGS	3
#define FZ_SLOTS	8	/* of a ring's buffer table */
#define FZ_DRMS		3
#define FZ_MAPS		6
#define FZ_JUNK		8
#define FZ_DISKS	9
#define FZ_ENDS		2	/* of an RDMA connection */

struct fz_rng {
	__u64 state;
};

/**
 * struct fz_proc - one process, as the main process sees it
 * @at: name of the last call it made
 * @calls: of this generation
 * @pid: 0 when it does not run
 * @gen: how often it was started again
 */
struct fz_proc {
	const char *_Atomic at;
	_Atomic __u64 calls;
	pid_t pid;
	__u32 gen;
};

/* One kind of call and what became of it. */
struct fz_count {
	const char *_Atomic name;
	_Atomic __u64 ok;
	_Atomic __u64 failed;
	_Atomic __u32 err[FZ_ERRNOS];
};

#define FZ_COUNTS	64

/* In memory that all processes share. */
struct fz_shared {
	_Atomic __u64 calls;
	_Atomic unsigned int broken;
	char first_broken[FZ_TEXT];
	_Atomic int stop;
	_Atomic int devices_gone;
	_Atomic int no_slots;	/* an unbind waits for them to be empty */
	struct fz_proc proc[FZ_PROCS];
	struct fz_count count[FZ_COUNTS];
};

struct fz_options {
	__u64 seed;
	__u64 calls;
	unsigned int seconds;
	unsigned int workers;
	int only;	/* replay of this worker alone, -1 for all */
	__u32 gen;	/* ... and this generation */
	bool verbose;
	bool quiet;	/* no background: no moves, unbinds, kills */
	unsigned int rdma;	/* one of so many steps is about it; 0 none */
	bool light;	/* mostly calls that are refused at once */
};

extern struct fz_shared *fz;
extern struct fz_options fz_opt;
/* Made before the first fork: descriptors that all processes have. */
extern int fz_common[FZ_COMMON];
extern int fz_common_drm;
extern __u32 fz_common_handle[FZ_COMMON];

struct fz_bo {
	int drm;	/* index in drm[] */
	__u32 handle;
	__u64 size;
	__u64 offset;
};

struct fz_map {
	void *p;
	size_t len;
};

struct fz_ring {
	struct io_uring ring;
	bool open;
	bool racy;
	unsigned int flags;
	unsigned int out;
};

/**
 * struct fz_rdma - a connection with oneself
 * @listener: where it was made
 * @end: both ends, connected or not
 * @ring: for the commands of both
 * @open: all of these are there
 * @out: commands under way
 * @last: user_data of the last one
 */
struct fz_rdma {
	int listener;
	int end[FZ_ENDS];
	struct io_uring ring;
	bool open;
	unsigned int out;
	__u64 last;
};

/**
 * struct fz_guard - memory of which only a middle part is bound
 * @buffer: all of it
 * @made: it is there
 * @id: binding in node 0; it may be gone
 */
struct fz_guard {
	struct ptn_buffer buffer;
	bool made;
	int id;
};

/**
 * struct fz_worker - what one process has in its hands
 * @arena: two pages that may be accessed and one behind that may not
 * @racy: a page that another thread scribbles over
 * @race: ... when it is told so
 */
struct fz_worker {
	struct fz_rng rng;
	struct fz_proc *proc;
	int drm[FZ_DRMS];
	struct fz_bo bo[FZ_BOS];
	int buf[FZ_BUFS];
	struct fz_map map[FZ_MAPS];
	int disk[FZ_DISKS];
	unsigned int disks;
	int junk[FZ_JUNK];
	int node[FZ_NODES];
	__u32 id[FZ_NODES][FZ_IDS];
	struct fz_ring ring[FZ_RINGS];
	struct fz_rdma rdma;
	struct fz_guard guard[2];
	char *arena;
	char *racy;
	sem_t race;
};

#define FZ_ARENA	(2 * PTN_PAGE)

/* ---- fuzz_value.c ---- */

__u64 fz_next(struct fz_rng *rng);
/* A number below @n. */
__u64 fz_below(struct fz_rng *rng, __u64 n);
/* True once in @n times. */
bool fz_once_in(struct fz_rng *rng, unsigned int n);
__u64 fz_seed(__u64 seed, __u64 process, __u64 gen);
/* A number at which something might end. */
__u64 fz_edge(struct fz_rng *rng);
/* Bytes of an object: mostly small. */
__u64 fz_size(struct fz_rng *rng);

/**
 * struct fz_field - a field of a struct, for mutation
 * @offset: in the struct
 * @size: 4 or 8
 */
struct fz_field {
	__u16 offset;
	__u16 size;
};

#define FZ_FIELD(type, member) \
	{ offsetof(type, member), sizeof(((type *)0)->member) }

/* Mostly nothing, often one field, at times most of them. */
void fz_mutate(struct fz_rng *rng, void *p, const struct fz_field *fields,
	       unsigned int n);
/*
 * Put @size bytes where the kernel will read them: with memory behind, right
 * before memory that cannot be accessed, partly in it, or where another
 * thread writes all the time.
 */
void *fz_place(struct fz_worker *w, const void *bytes, size_t size);
void *fz_argument(struct fz_worker *w, const void *arg, size_t size,
		  unsigned long *request, const int **allowed);
/* Neither of the two, both, or one that there is not. */
__u32 fz_wrong_placement(struct fz_rng *rng);
/* Bytes within @pages pages, not a multiple of one. */
__u64 fz_misaligned(struct fz_rng *rng, unsigned int pages);
/* One of the bits that @known does not have. */
__u32 fz_unknown_bit(struct fz_rng *rng, __u32 known);
/* A descriptor that is none of those asked for. */
int fz_junk_fd(struct fz_worker *w);
int fz_any_buf(struct fz_worker *w);
/* Nearly any: none whose exporter warns when the CPU accesses it. */
int fz_any_cpu_buf(struct fz_worker *w);
/* A place for a buffer that was made: what was there is closed. */
void fz_keep_buf(struct fz_worker *w, int fd, bool udmabuf);
int fz_any_disk(struct fz_worker *w);
/* The next place from a random one on that is not empty, if any. */
__u32 fz_any_id(struct fz_worker *w, unsigned int node);
struct fz_bo *fz_any_bo(struct fz_worker *w);

/* ---- fuzz_main.c ---- */

/**
 * fz_done - one call is over
 * @w: by whom
 * @name: constant text
 * @ret: 0 or more, or -errno
 * @allowed: documented errnos, ended by 0; NULL when it is not ours to say
 * Return: @ret
 */
long fz_done(struct fz_worker *w, const char *name, long ret,
	     const int *allowed);
/* The same for a call that must not succeed, whatever went before it. */
void fz_refused(struct fz_worker *w, const char *name, long ret,
		const int *allowed);
/*
 * An ioctl that must not succeed, with its argument at the end of what can be
 * read, where nobody writes meanwhile.
 */
void fz_ioctl_refused(struct fz_worker *w, const char *name, int fd,
		      unsigned long request, const void *arg, size_t size,
		      const int *allowed);
/* An oracle was contradicted. */
__attribute__((format(printf, 1, 2)))
void fz_broken(const char *fmt, ...);
void fz_count_call(struct fz_proc *proc, const char *name, long ret,
		   const int *allowed);
bool fz_over(void);
/* @calls, counted so that as much happens in between as without -l. */
__u64 fz_pace(__u64 calls);

/* ---- the calls ---- */

void fz_drm(struct fz_worker *w);
void fz_touch(struct fz_worker *w);
void fz_drm_wrong(struct fz_worker *w);
void fz_dmabuf(struct fz_worker *w);
void fz_nvme(struct fz_worker *w);
void fz_nvme_wrong(struct fz_worker *w);
void fz_file_io(struct fz_worker *w);
void fz_ring(struct fz_worker *w);
void fz_ring_wrong(struct fz_worker *w);
void fz_ring_close(struct fz_ring *r);

extern const int *fz_fixed_errnos;
void fz_fixed_command(struct fz_worker *w, struct io_uring_sqe *sqe);
void fz_fixed_wrong(struct fz_worker *w, struct io_uring_sqe *sqe);
void fz_fixed_io(struct fz_worker *w, struct io_uring_sqe *sqe);
void fz_fixed_empty(struct fz_ring *r);
void fz_fixed_paged(bool on);
void fz_fixed_begin(void);
void fz_fixed_end(void);

void fz_rdma(struct fz_worker *w);
void fz_rdma_wrong(struct fz_worker *w);
/* False when there is no network for it. */
bool fz_rdma_begin(void);
void fz_rdma_end(void);

int fz_guard_disk_fill(void);
void fz_guard_disk_check(void);
void fz_guard_make(struct fz_worker *w);
void fz_guard_check(struct fz_worker *w);

void fz_mover(struct fz_proc *proc, struct fz_rng *rng);
void fz_evictor(struct fz_proc *proc, struct fz_rng *rng);
void fz_unbinder(struct fz_proc *proc, struct fz_rng *rng);
enum fz_victim { FZ_EXPORTER, FZ_DRIVE, FZ_VICTIMS };

/* False when there is none, or it still has its driver. */
bool fz_unbind(enum fz_victim victim);
/* Bind what has been left without a driver. */
void fz_rebind(void);

#endif /* P2PBUF_FUZZ_H */
