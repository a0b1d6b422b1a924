/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Shared inside the library; nothing here is exported.
 *
 * Ownership: a buffer holds a reference on its exporter, a binding on the file
 * it issues I/O through, and a file's binding on the ring, too. A binding holds
 * none on its buffer: the kernel's binding or slot has its own. So handles may
 * be ended in any order.
 *
 * Locks: one mutex per exporter, for its GEM handles, and one of the library
 * for slots in buffer tables (ring.c). Everything else in a handle is constant
 * once it was returned to the caller.
 */
#ifndef P2PBUF_INTERNAL_H
#define P2PBUF_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <p2pbuf.h>

#define P2PBUF_PAGE	4096u

/* ---- error.c ---- */

__attribute__((format(printf, 3, 4)))
void p2pbuf_error_set(struct p2pbuf_error *error, int code,
		      const char *fmt, ...);

/*
 * Stores the reason and returns -@_code, so that a refusal is one statement.
 * @_error may be NULL. A macro, for a compiler to see that it is no success,
 * whatever errno holds.
 */
#define p2pbuf_fail(_error, _code, ...)					\
({									\
	int __code = (_code);						\
									\
	if (__code <= 0)						\
		__code = EIO;						\
	p2pbuf_error_set(_error, __code, __VA_ARGS__);			\
	-__code;							\
})

/* ---- struct.c ---- */

/*
 * Take the caller's struct, whose first field is its size, into @dst of
 * @known bytes: -EINVAL when it is shorter than @min, -E2BIG when it is longer
 * and the bytes unknown here are not zero. A NULL @src is all zero.
 */
int p2pbuf_struct_in(void *dst, size_t known, const void *src, size_t min,
		     struct p2pbuf_error *error);
/* Give @src to the caller's struct, whose size field stays as it was. */
int p2pbuf_struct_out(void *dst, const void *src, size_t known, size_t min);

/* ---- exporter.c ---- */

/*
 * PRIME gives one handle per object and open file however often the object is
 * imported, and one GEM_CLOSE ends it: handles are counted here.
 */
struct p2pbuf_gem {
	struct p2pbuf_gem *next;
	uint32_t handle;
	unsigned int refs;
};

struct p2pbuf_exporter {
	atomic_uint refs;
	int fd;
	bool is_paged;
	uint16_t io_priority;
	uint32_t pci;
	uint32_t bar;
	pthread_mutex_t lock;
	struct p2pbuf_gem *handles;
	char node[64];
	char device[16];
};

struct p2pbuf_exporter *p2pbuf_exporter_get(struct p2pbuf_exporter *exporter);
/* The handle of a dma-buf on @exporter: 0 or -errno. */
int p2pbuf_gem_import(struct p2pbuf_exporter *exporter, int dmabuf_fd,
		      uint32_t *handle);
void p2pbuf_gem_put(struct p2pbuf_exporter *exporter, uint32_t handle);

/* ioctl() again as long as a signal interrupts it; 0 or more, or -errno. */
int p2pbuf_ioctl(int fd, unsigned long request, void *arg);

/* ---- buffer.c ---- */

struct p2pbuf_buffer {
	int fd;
	uint64_t length;
	/* NULL: made by somebody else, and nobody said by whom. */
	struct p2pbuf_exporter *exporter;
	uint32_t handle;
};

/* As p2pbuf_import(), but @fd becomes the library's, on failure too. */
int p2pbuf_buffer_adopt(int fd, struct p2pbuf_buffer **buf,
			struct p2pbuf_error *error);

/* ---- path.c ---- */

#define P2PBUF_BDF_LEN	16
void p2pbuf_pci_text(uint32_t pci, char text[P2PBUF_BDF_LEN]);
/* The other way; false for what no function of domain 0 to 0xffff is called. */
bool p2pbuf_pci_parse(const char *text, uint32_t *pci);

/* ---- disk.c ---- */

#define P2PBUF_DISKS	16u
#define P2PBUF_DISK_NAME 32u

/*
 * The PCI functions that do the DMA for a file, each once.
 * @queue: the disks whose queues they serve, as in /sys/block
 * @queues: how many
 * @is_multipath: one of them has its queues in disks that have no name here
 * @max_io: bytes that each of them takes at once; 0 unknown
 */
struct p2pbuf_disks {
	unsigned int n;
	uint32_t pci[P2PBUF_DISKS];
	unsigned int queues;
	char queue[P2PBUF_DISKS][P2PBUF_DISK_NAME];
	bool is_multipath;
	uint64_t max_io;
};

/*
 * Adds those below @dev, or refuses: one that is not NVMe on PCI, or a layer
 * that would move the data by CPU.
 */
int p2pbuf_disks_find(struct p2pbuf_disks *disks, dev_t dev,
		      struct p2pbuf_error *error);
/* Is it a namespace of an NVMe drive on PCI, or a part of one? */
bool p2pbuf_disk_is_nvme(dev_t dev);

/* ---- queue.c ---- */

/* Keep the disks from merging requests, for good. */
int p2pbuf_disks_stop_merges(const struct p2pbuf_disks *disks,
			     struct p2pbuf_error *error);
bool p2pbuf_disks_merge(const struct p2pbuf_disks *disks);

/* ---- route.c ---- */

/*
 * How @importer, a PCI function, reaches the exporter's BAR; fails only when
 * the exporter does not answer.
 */
int p2pbuf_route_find(struct p2pbuf_exporter *exporter, uint32_t importer,
		      struct p2pbuf_path_info *path);

/* ---- bind.c ---- */

/*
 * What a backend tells about a binding when it makes it. Constant afterwards,
 * so that p2pbuf_prep_*() can judge a request without asking the kernel.
 */
struct p2pbuf_limits {
	uint64_t offset;
	uint64_t length;
	uint64_t capacity;
	uint64_t max_io;
	uint64_t max_len;
	uint32_t block_size;
	uint32_t buf_align;
	uint32_t rights;
	uint32_t flags;
	/* Of a request: P2PBUF_FLUSH cannot be done. */
	bool no_flush;
};

struct p2pbuf_binding {
	const struct p2pbuf_backend *backend;
	struct p2pbuf_limits limits;
	char target[64];
};

/*
 * @target: what @fd is called
 * @before: the buffer before anything attached to it; for what the exporter
 *	did on its own meanwhile
 */
struct p2pbuf_bind_args {
	struct io_uring *ring;
	struct p2pbuf_buffer *buf;
	int fd;
	struct stat st;
	char target[64];
	struct p2pbuf_bind_opts opts;
	struct p2pbuf_buffer_info before;
};

/* Did the exporter itself take the buffer out of VRAM since? */
bool p2pbuf_bind_displaced(const struct p2pbuf_bind_args *args);

/*
 * One way of doing I/O. A backend embeds struct p2pbuf_binding first.
 * @name: for p2pbuf_bind_info.backend
 * @claim: is this file for this backend? 0, or why not; the last backend's
 *	refusal is what the caller of p2pbuf_bind() is told
 * @bind: makes the binding with limits and all
 * @prep: fills an SQE; the request was judged before, cannot fail
 * @info: fills what the limits do not tell; leaves @why empty if the path says
 *	all
 * @io_error: a sentence on a CQE's error; returns false to leave it to the
 *	general table
 * @fd: the file that SQEs go to
 * @unbind: ends and frees it; cannot fail
 */
struct p2pbuf_backend {
	const char *name;
	int (*claim)(const struct p2pbuf_bind_args *args,
		     struct p2pbuf_error *error);
	int (*bind)(const struct p2pbuf_bind_args *args,
		    struct p2pbuf_binding **binding,
		    struct p2pbuf_error *error);
	void (*prep)(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		     uint32_t direction, uint64_t buf_off, uint32_t len,
		     uint64_t file_off, uint32_t flags);
	int (*info)(struct p2pbuf_binding *binding,
		    struct p2pbuf_bind_info *info);
	bool (*io_error)(struct p2pbuf_binding *binding, int code,
			 struct p2pbuf_error *error);
	int (*fd)(struct p2pbuf_binding *binding);
	void (*unbind)(struct p2pbuf_binding *binding);
};

extern const struct p2pbuf_backend p2pbuf_backend_nvme;
extern const struct p2pbuf_backend p2pbuf_backend_file;

/* ---- target.c ---- */

/*
 * @offset_align: unit of lengths and file offsets
 * @mem_align: unit of buffer offsets
 * @disks: what is below, as far as it is known
 * @obstacle: why they cannot do peer to peer; code 0: as far as the layers
 *	go, they can
 */
struct p2pbuf_target {
	uint32_t offset_align;
	uint32_t mem_align;
	struct p2pbuf_disks disks;
	struct p2pbuf_error obstacle;
};

/* "a pipe" */
const char *p2pbuf_target_kind(mode_t mode);
/* Is it something that direct I/O can be done with? 0 or why not. */
int p2pbuf_target_claim(const struct p2pbuf_bind_args *args,
			struct p2pbuf_error *error);
/* Fails where no direct I/O is done; obstacles to peer to peer are told apart. */
int p2pbuf_target_judge(const struct p2pbuf_bind_args *args,
			struct p2pbuf_target *target,
			struct p2pbuf_error *error);
/* Does its filesystem still do direct I/O on it? Who does not tell is believed. */
bool p2pbuf_target_is_direct(int fd);
/* Bytes of it now. */
uint64_t p2pbuf_target_capacity(int fd);

/* ---- ring.c ---- */

#define P2PBUF_SLOTS	16384u	/* io_uring's own limit */

/* Submit what is prepared and wait for one completion: its res. */
int p2pbuf_ring_run(struct io_uring *ring);
/* Copy @count slots from one ring's buffer table to another's; 0 slots: all. */
int p2pbuf_ring_clone(int to, unsigned int to_slot, int from,
		      unsigned int from_slot, unsigned int count);
/*
 * Copy slot 0 of @home_fd to an empty slot of @ring_fd: to @wanted (EBUSY when
 * it is taken), or to the lowest if that is negative. The slot, or -errno.
 */
int p2pbuf_ring_fill_slot(int ring_fd, int home_fd, int wanted);
int p2pbuf_ring_clear_slot(int ring_fd, unsigned int slot);

#endif /* P2PBUF_INTERNAL_H */
