/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The exporter's insides.
 *
 * A region is a BAR range with a DRM device. An object is a GEM object of a
 * region: a VRAM object (allocated, movable) or a window (a fixed range). An
 * account is what one open file is charged for.
 *
 * Lock order, outer first:
 *
 *	uring_lock		of an io_uring, by a fixed buffer's release
 *	mmap_lock
 *	region->alloc_lock	only by a second try to get VRAM
 *	dma_resv of an object	one at a time; victims of an eviction by
 *				trylock, or with the ww ticket that the holder
 *				of alloc_lock brings
 *	i_mmap_rwsem, page allocation, importers' invalidate callbacks
 *	account->lock, quota->lock, objects_lock, TTM's lru_lock (spinlocks,
 *				leaves; account->lock has a resv tried in it)
 *
 * Nothing copies from or to user memory with a dma_resv held.
 *
 * Whatever puts bytes into VRAM or lets somebody reach them there runs inside
 * drm_dev_enter()/drm_dev_exit(). Once drm_dev_unplug() has returned, objects
 * only leave VRAM, and p2pbuf_region_unregister() returns when all have.
 */
#ifndef P2PBUF_EXPORTER_H
#define P2PBUF_EXPORTER_H

#include <linux/atomic.h>
#include <linux/dma-buf.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_device.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/p2pbuf_drm.h>

#include "p2pbuf_region.h"

#define P2PBUF_DRIVER_NAME	"p2pbuf_exporter"

/* How often an unplug that has to wait says so. */
#define P2PBUF_UNPLUG_REPORT	(5 * HZ)

struct io_uring_cmd;
struct iosys_map;
struct p2pdma_provider;
struct user_struct;

/* Why something was refused; debugfs counts each. */
enum p2pbuf_refusal {
	P2PBUF_REFUSED_NO_SPACE,
	P2PBUF_REFUSED_RESIDENT_LIMIT,
	P2PBUF_REFUSED_PIN_LIMIT,
	P2PBUF_REFUSED_FIXED,
	P2PBUF_REFUSED_BUSY,
	P2PBUF_REFUSED_FAR_ATTACHED,
	P2PBUF_REFUSED_FAR_IMPORTER,
	P2PBUF_REFUSED_NO_SYSTEM,
	P2PBUF_REFUSED_FOREIGN,
	P2PBUF_REFUSED_READ_ONLY,
	P2PBUF_REFUSED_PRIVILEGE,
	P2PBUF_REFUSED_GONE,
	P2PBUF_REFUSED_PAGES,
	P2PBUF_REFUSED_NOT_PAGED,
	P2PBUF_REFUSED_WINDOW,
	P2PBUF_REFUSED_SLOT,
	P2PBUF_REFUSALS,
};

/* Bytes of VRAM pinned, by user and in all; see quota.c. */
struct p2pbuf_quota {
	/* users, pinned */
	spinlock_t lock;
	struct list_head users;
	u64 pinned;
	u64 user_limit;
	u64 device_limit;
};

/* What an object's pin is charged to, NULL when it is not charged. */
struct p2pbuf_charge {
	struct p2pbuf_quota_user *vram;
	struct user_struct *system;
	u64 bytes;
};

struct p2pbuf_region {
	struct drm_device drm;
	struct ttm_device ttm;
	struct pci_dev *pdev;
	/* Valid while drm_dev_enter() succeeds. */
	struct p2pdma_provider *provider;
	void __iomem *flush;

	unsigned int bar;
	bool write_combining;
	bool unrevocable;
	phys_addr_t start;
	u64 size;
	u64 reserved;
	u64 resident_limit;

	/*
	 * Paged regions, see paged.c: where the CPU sees the range until the
	 * region is unregistered,
	 */
	bool paged;
	void *vaddr;
	/* the hint of its I/O priority, */
	unsigned int hint;
	/* and dead objects with I/O in flight. */
	struct workqueue_struct *quarantine;
	atomic_t quarantined;

	/* one at a time waits for victims, see p2pbuf_move_to_vram() */
	struct mutex alloc_lock;
	struct p2pbuf_quota quota;

	/* objects */
	spinlock_t objects_lock;
	struct list_head objects;
	/* unregister waits here for what it cannot revoke */
	wait_queue_head_t settled;

	/* times an object left VRAM, alive or dead */
	atomic64_t departures;
	atomic64_t moves;
	atomic64_t evictions;
	/* objects that were not evicted because of I/O by address */
	atomic64_t busy_victims;
	atomic64_t page_waits;
	atomic64_t quarantines;
	atomic64_t registrations;
	atomic64_t refusals[P2PBUF_REFUSALS];
};

static inline struct p2pbuf_region *to_p2pbuf_region(struct drm_device *drm)
{
	return container_of(drm, struct p2pbuf_region, drm);
}

/* Bytes that objects can be allocated from. */
static inline u64 p2pbuf_region_vram_size(const struct p2pbuf_region *region)
{
	return region->size - region->reserved;
}

static inline bool p2pbuf_region_is_paged(const struct p2pbuf_region *region)
{
	return region->paged;
}

/* Where the CPU sees a byte of a paged region. */
static inline void __iomem *
p2pbuf_region_io(const struct p2pbuf_region *region, u64 offset)
{
	return (void __iomem __force *)region->vaddr + offset;
}

int p2pbuf_refuse(struct p2pbuf_region *region, enum p2pbuf_refusal why,
		  int error);
void p2pbuf_region_flush(struct p2pbuf_region *region);

/* One open file; outlives it while an object of it lives. */
struct p2pbuf_account {
	struct kref kref;
	/* used, lru */
	spinlock_t lock;
	u64 limit;
	u64 used;
	/* Objects in VRAM, least recently used first. */
	struct list_head lru;
};

struct p2pbuf_object {
	/* First: TTM and GEM cast between them. A window uses tbo.base only. */
	struct ttm_buffer_object tbo;

	/* Constant from create on. */
	u32 flags;
	u64 window_offset;
	struct p2pbuf_account *account;

	struct list_head region_node;	/* region->objects_lock */
	struct list_head account_node;	/* account->lock; in VRAM */

	/* Under tbo.base.resv from here on; placement is also peeked at. */
	u32 placement;
	/* The place is gone for good: unplugged and nowhere to go. */
	bool gone;
	/* A GEM_MOVE is under way: a change of place is no eviction. */
	bool asked;
	/* TTM must not touch it: pinned or vmapped. */
	bool held;
	/* The system's sleep drove it out of VRAM. */
	bool suspended;
	/*
	 * The dma-buf while there is one. tbo.base.dma_buf does not do: DRM
	 * clears it when the last handle is closed, and importers stay. An
	 * export sets it without the resv, see p2pbuf_dmabuf_export().
	 */
	struct dma_buf *dmabuf;
	unsigned int pins;
	unsigned int vmaps;
	/* attachments that cannot reach the BAR */
	unsigned int far_attachments;
	/* DMA mappings of the BAR that importers have not unmapped */
	unsigned int vram_mappings;
	/* slots of io_urings that it is in; each holds a pin */
	unsigned int registrations;
	/* of the move that is under way, and what it has driven out of VRAM */
	unsigned long patience;
	u64 drove;
	struct delayed_work quarantine;
	struct p2pbuf_charge charge;

	u64 generation;
	u64 evictions;
	u64 mappings;
};

static inline struct p2pbuf_object *to_p2pbuf_object(struct drm_gem_object *gem)
{
	return container_of(gem, struct p2pbuf_object, tbo.base);
}

static inline struct p2pbuf_region *
p2pbuf_object_region(const struct p2pbuf_object *obj)
{
	return to_p2pbuf_region(obj->tbo.base.dev);
}

static inline bool p2pbuf_object_is_window(const struct p2pbuf_object *obj)
{
	return obj->flags & P2PBUF_CREATE_WINDOW;
}

/* Can it live in system memory? */
static inline bool p2pbuf_object_is_movable(const struct p2pbuf_object *obj)
{
	return !(obj->flags & (P2PBUF_CREATE_WINDOW | P2PBUF_CREATE_VRAM_ONLY));
}

/* Held in its place by somebody. */
static inline bool p2pbuf_object_is_fixed(const struct p2pbuf_object *obj)
{
	return obj->pins || obj->vmaps;
}

/* How patient a move is. */
struct p2pbuf_move_ctx {
	bool interruptible;
	bool nowait;
	/* bytes are lost if it fails */
	bool insist;
	/*
	 * Jiffies to wait for I/O by address before -ETXTBSY says that the
	 * caller shall unlock and come again; 0 if he cannot, see paged.c.
	 */
	unsigned long patience;
};

/*
 * So many times all that there is room for is driven out for one object. Who
 * moves his back as fast as it is evicted would make it endless.
 */
#define P2PBUF_EVICT_ROUNDS	2

/* For who comes again, and for who cannot. */
#define P2PBUF_PAGES_SHORT	(HZ / 20)
#define P2PBUF_PAGES_LONG	(5 * HZ)

/* object.c */
struct p2pbuf_object *p2pbuf_object_alloc(struct p2pbuf_region *region,
					  struct p2pbuf_account *account,
					  u64 size, u32 flags);
void p2pbuf_object_free(struct p2pbuf_object *obj);
struct p2pbuf_object *p2pbuf_object_create(struct p2pbuf_region *region,
					   struct p2pbuf_account *account,
					   u64 size, u32 placement, u32 flags);
phys_addr_t p2pbuf_object_phys(const struct p2pbuf_object *obj);
void p2pbuf_object_touch(struct p2pbuf_object *obj);
void p2pbuf_object_unhold(struct p2pbuf_object *obj);
void p2pbuf_object_lose(struct p2pbuf_object *obj, int reason);
int p2pbuf_object_pin(struct p2pbuf_object *obj);
void p2pbuf_object_unpin(struct p2pbuf_object *obj);
int p2pbuf_object_vmap(struct drm_gem_object *gem, struct iosys_map *map);
void p2pbuf_object_vunmap(struct drm_gem_object *gem, struct iosys_map *map);

/* move.c */
int p2pbuf_object_to_system(struct p2pbuf_object *obj,
			    const struct p2pbuf_move_ctx *ctx);
int p2pbuf_move_quiesce(struct p2pbuf_object *obj,
			const struct p2pbuf_move_ctx *ctx);
void p2pbuf_move_done(struct p2pbuf_object *obj, u32 placement);
int p2pbuf_object_unplug(struct p2pbuf_object *obj);
int p2pbuf_object_suspend(struct p2pbuf_object *obj);
int p2pbuf_object_resume(struct p2pbuf_object *obj);
int p2pbuf_object_move(struct p2pbuf_object *obj, u32 placement, bool nowait);

/* paged.c */
int p2pbuf_paged_init(struct p2pbuf_region *region);
int p2pbuf_paged_init_quarantine(struct p2pbuf_region *region);
void p2pbuf_paged_unplug(struct p2pbuf_region *region);
void p2pbuf_paged_fini(struct p2pbuf_region *region);
u32 p2pbuf_paged_priority(const struct p2pbuf_region *region);
struct page *p2pbuf_paged_page(const struct p2pbuf_object *obj,
			       unsigned long index);
bool p2pbuf_paged_is_busy(struct p2pbuf_object *obj);
int p2pbuf_paged_wait(struct p2pbuf_object *obj,
		      const struct p2pbuf_move_ctx *ctx);
bool p2pbuf_paged_quarantine(struct p2pbuf_object *obj);

/* fixed.c */
int p2pbuf_fixed_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);

/* ttm.c */
int p2pbuf_ttm_init(struct p2pbuf_region *region);
void p2pbuf_ttm_unplug(struct p2pbuf_region *region);
u64 p2pbuf_ttm_vram_used(struct p2pbuf_region *region);
int p2pbuf_ttm_object_init(struct p2pbuf_object *obj);
int p2pbuf_ttm_to_vram(struct p2pbuf_object *obj,
		       const struct p2pbuf_move_ctx *ctx);
int p2pbuf_ttm_to_system(struct p2pbuf_object *obj,
			 const struct p2pbuf_move_ctx *ctx);
int p2pbuf_ttm_purge(struct p2pbuf_object *obj);
void p2pbuf_ttm_pin(struct p2pbuf_object *obj);
void p2pbuf_ttm_unpin(struct p2pbuf_object *obj);
int p2pbuf_ttm_vmap(struct p2pbuf_object *obj, struct iosys_map *map);
void p2pbuf_ttm_vunmap(struct p2pbuf_object *obj, struct iosys_map *map);
void p2pbuf_ttm_touch(struct p2pbuf_object *obj);
bool p2pbuf_ttm_has_place(const struct p2pbuf_object *obj);
u64 p2pbuf_ttm_vram_offset(const struct p2pbuf_object *obj);
struct page **p2pbuf_ttm_pages(const struct p2pbuf_object *obj);
struct page *p2pbuf_ttm_page(const struct p2pbuf_object *obj,
			     unsigned long index);
void p2pbuf_ttm_release(struct p2pbuf_object *obj);
void p2pbuf_ttm_debugfs(struct drm_minor *minor);

/* window.c */
struct p2pbuf_object *p2pbuf_window_create(struct p2pbuf_region *region,
					   struct p2pbuf_account *account,
					   u64 size, u64 offset);
int p2pbuf_window_vmap(struct p2pbuf_object *obj, struct iosys_map *map);
void p2pbuf_window_vunmap(struct p2pbuf_object *obj, struct iosys_map *map);

/* dmabuf.c */
struct dma_buf *p2pbuf_dmabuf_export(struct drm_gem_object *gem, int flags);
struct drm_gem_object *p2pbuf_dmabuf_import(struct drm_device *drm,
					    struct dma_buf *dmabuf);

/* quota.c */
struct p2pbuf_account *p2pbuf_account_create(u64 limit);
void p2pbuf_account_put(struct p2pbuf_account *account);
int p2pbuf_account_charge(struct p2pbuf_object *obj,
			  const struct p2pbuf_move_ctx *ctx);
void p2pbuf_account_uncharge(struct p2pbuf_object *obj);
void p2pbuf_account_touch(struct p2pbuf_object *obj);
u64 p2pbuf_account_used(struct p2pbuf_account *account);
void p2pbuf_quota_init(struct p2pbuf_quota *quota, u64 user_limit,
		       u64 device_limit);
u64 p2pbuf_quota_used(struct p2pbuf_quota *quota);
int p2pbuf_quota_charge_vram(struct p2pbuf_quota *quota, u64 bytes,
			     struct p2pbuf_charge *charge);
int p2pbuf_quota_charge_system(u64 bytes, struct p2pbuf_charge *charge);
void p2pbuf_quota_uncharge(struct p2pbuf_quota *quota,
			   struct p2pbuf_charge *charge);

/* ioctl.c */
#define P2PBUF_NUM_IOCTLS	5
extern const struct drm_ioctl_desc p2pbuf_ioctls[P2PBUF_NUM_IOCTLS];
long p2pbuf_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
#ifdef CONFIG_COMPAT
long p2pbuf_compat_ioctl(struct file *file, unsigned int cmd,
			 unsigned long arg);
#else
#define p2pbuf_compat_ioctl	NULL
#endif

/* debugfs.c */
void p2pbuf_debugfs_init(struct p2pbuf_region *region);
void p2pbuf_show_fdinfo(struct drm_printer *p, struct drm_file *file);

#endif /* P2PBUF_EXPORTER_H */
