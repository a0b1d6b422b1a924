// SPDX-License-Identifier: GPL-2.0
/*
 * Who may hold how much.
 *
 * Residency: an open file may hold so many bytes of VRAM. Going over it is
 * no error as long as older objects of the same file can be evicted instead,
 * of which those that are busy are passed over; nobody else's objects suffer.
 * An object is charged to the file that created it for as long as it is in
 * VRAM, whoever else uses it.
 *
 * Pins: what is pinned in VRAM is lost to everybody else, so each user and
 * the region as a whole have a limit; CAP_SYS_RESOURCE overrides it, as it
 * does with other quotas. What is pinned in system memory counts as locked
 * memory of the user against RLIMIT_MEMLOCK, CAP_IPC_LOCK overrides. (Not
 * account_locked_vm(): that takes mmap_lock, and the resv is held here.)
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/dma-resv.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>

#include "exporter.h"

struct p2pbuf_quota_user {
	struct list_head node;
	kuid_t uid;
	u64 bytes;
};

struct p2pbuf_account *p2pbuf_account_create(u64 limit)
{
	struct p2pbuf_account *account;

	account = kzalloc_obj(*account);
	if (!account)
		return NULL;

	kref_init(&account->kref);
	spin_lock_init(&account->lock);
	INIT_LIST_HEAD(&account->lru);
	account->limit = limit;
	return account;
}

static void p2pbuf_account_free(struct kref *kref)
{
	kfree(container_of(kref, struct p2pbuf_account, kref));
}

void p2pbuf_account_put(struct p2pbuf_account *account)
{
	kref_put(&account->kref, p2pbuf_account_free);
}

static bool p2pbuf_account_try(struct p2pbuf_account *account,
			       struct p2pbuf_object *obj)
{
	u64 size = obj->tbo.base.size;

	lockdep_assert_held(&account->lock);

	/* A limit that is all of VRAM is none: VRAM itself says no. */
	if (account->used + size > account->limit &&
	    account->limit < p2pbuf_region_vram_size(p2pbuf_object_region(obj)))
		return false;

	account->used += size;
	list_add_tail(&obj->account_node, &account->lru);
	return true;
}

static bool p2pbuf_account_evictable(const struct p2pbuf_object *obj)
{
	dma_resv_assert_held(obj->tbo.base.resv);

	return obj->placement == P2PBUF_PLACEMENT_VRAM && !obj->gone &&
	       p2pbuf_object_is_movable(obj) && !p2pbuf_object_is_fixed(obj);
}

/**
 * struct p2pbuf_account_search - a search for room in an account
 * @victim: the first object that can be evicted, locked and referenced
 * @contended: the first that somebody else has locked, referenced
 * @dying: one is dead, and its bytes come back when its fences have signalled
 * @entries: objects of the account
 * @passed: the first victim that was busy, to be compared only
 * @error: what it was
 * @busy: how many were
 * @evicted: bytes of those that were not
 */
struct p2pbuf_account_search {
	struct p2pbuf_object *victim;
	struct p2pbuf_object *contended;
	bool dying;
	size_t entries;
	const struct p2pbuf_object *passed;
	int error;
	size_t busy;
	u64 evicted;
};

/*
 * What is on the list is not freed while the account is locked, so a try of
 * the resv needs no reference.
 */
static void p2pbuf_account_look(struct p2pbuf_account *account,
				struct p2pbuf_account_search *s)
{
	struct p2pbuf_object *obj;

	lockdep_assert_held(&account->lock);

	s->victim = NULL;
	s->contended = NULL;
	s->dying = false;
	s->entries = list_count_nodes(&account->lru);
	list_for_each_entry(obj, &account->lru, account_node) {
		if (!kref_read(&obj->tbo.base.refcount)) {
			s->dying = true;
			continue;
		}
		if (!dma_resv_trylock(obj->tbo.base.resv)) {
			if (!s->contended &&
			    kref_get_unless_zero(&obj->tbo.base.refcount))
				s->contended = obj;
			continue;
		}
		if (p2pbuf_account_evictable(obj) &&
		    kref_get_unless_zero(&obj->tbo.base.refcount)) {
			s->victim = obj;
			return;
		}
		dma_resv_unlock(obj->tbo.base.resv);
	}
}

/* Only whoever brings a ww ticket may wait for a second resv. */
static int p2pbuf_account_wait(struct p2pbuf_object *contended,
			       struct ww_acquire_ctx *ticket)
{
	int ret;

	if (!ticket)
		return -EAGAIN;

	ret = dma_resv_lock_interruptible(contended->tbo.base.resv, ticket);
	if (ret)
		return ret == -EDEADLK ? -EAGAIN : ret;

	dma_resv_unlock(contended->tbo.base.resv);
	return 0;
}

/* Who is busy is passed over: the next look finds others before him. */
static int p2pbuf_account_drive_out(struct p2pbuf_account_search *s,
				    const struct p2pbuf_move_ctx *ctx)
{
	int ret = p2pbuf_object_to_system(s->victim, ctx);

	if (!ret)
		s->evicted += s->victim->tbo.base.size;
	if (ret != -EBUSY && ret != -ETXTBSY)
		return ret;

	p2pbuf_account_touch(s->victim);
	if (!s->busy++) {
		s->passed = s->victim;
		s->error = ret;
	}
	return 0;
}

/* Were all tried, or driven out and brought back again and again? */
static int p2pbuf_account_give_up(struct p2pbuf_object *obj,
				  const struct p2pbuf_account_search *s)
{
	if (s->busy && (s->victim == s->passed || s->busy > s->entries))
		return s->error;
	if (s->evicted >= P2PBUF_EVICT_ROUNDS * obj->account->limit)
		return -EDQUOT;
	return 0;
}

/* One step towards room in the account. */
static int p2pbuf_account_evict(struct p2pbuf_object *obj,
				struct p2pbuf_account_search *s,
				struct ww_acquire_ctx *ticket,
				const struct p2pbuf_move_ctx *ctx)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	int ret;

	if (s->victim) {
		ret = p2pbuf_account_give_up(obj, s);
		if (!ret)
			ret = p2pbuf_account_drive_out(s, ctx);
		dma_resv_unlock(s->victim->tbo.base.resv);
		return ret;
	}
	if (s->contended && ctx->nowait)
		return p2pbuf_refuse(region, P2PBUF_REFUSED_BUSY, -EBUSY);
	if (s->contended)
		return p2pbuf_account_wait(s->contended, ticket);
	/* What was freed may come back soon. */
	if (ctx->patience && (s->dying || atomic_read(&region->quarantined)))
		return -ETXTBSY;
	return -EDQUOT;
}

/**
 * p2pbuf_account_charge() - charge an object that is about to enter VRAM
 * @obj: the object
 * @ctx: how patient the eviction of other objects of the file may be
 *
 * Return: 0; -EDQUOT when the limit does not allow it; -EAGAIN when it might
 * with the resv locked by a ww ticket; -ETXTBSY when it might after I/O by
 * address has ended, or a dead object's fences have signalled; or why an
 * eviction failed.
 */
int p2pbuf_account_charge(struct p2pbuf_object *obj,
			  const struct p2pbuf_move_ctx *ctx)
{
	struct p2pbuf_account *account = obj->account;
	struct p2pbuf_account_search s = {};
	struct ww_acquire_ctx *ticket;
	int ret = 0;

	dma_resv_assert_held(obj->tbo.base.resv);

	ticket = dma_resv_locking_ctx(obj->tbo.base.resv);
	/* Do not evict everything for what will never fit. */
	if (obj->tbo.base.size > account->limit)
		ret = -EDQUOT;

	while (!ret) {
		spin_lock(&account->lock);
		if (p2pbuf_account_try(account, obj)) {
			spin_unlock(&account->lock);
			return 0;
		}
		p2pbuf_account_look(account, &s);
		spin_unlock(&account->lock);

		ret = p2pbuf_account_evict(obj, &s, ticket, ctx);
		if (s.victim)
			drm_gem_object_put(&s.victim->tbo.base);
		if (s.contended)
			drm_gem_object_put(&s.contended->tbo.base);
		if (!ret && ctx->interruptible && signal_pending(current))
			ret = -ERESTARTSYS;
	}

	if (ret == -EDQUOT)
		p2pbuf_refuse(p2pbuf_object_region(obj),
			      P2PBUF_REFUSED_RESIDENT_LIMIT, ret);
	return ret;
}

/* An object left VRAM, or did not get in. Idempotent. */
void p2pbuf_account_uncharge(struct p2pbuf_object *obj)
{
	struct p2pbuf_account *account = obj->account;

	spin_lock(&account->lock);
	if (!list_empty(&obj->account_node)) {
		list_del_init(&obj->account_node);
		account->used -= obj->tbo.base.size;
	}
	spin_unlock(&account->lock);
}

/* Used just now: last of its file to be evicted. */
void p2pbuf_account_touch(struct p2pbuf_object *obj)
{
	struct p2pbuf_account *account = obj->account;

	spin_lock(&account->lock);
	if (!list_empty(&obj->account_node))
		list_move_tail(&obj->account_node, &account->lru);
	spin_unlock(&account->lock);
}

u64 p2pbuf_account_used(struct p2pbuf_account *account)
{
	u64 used;

	spin_lock(&account->lock);
	used = account->used;
	spin_unlock(&account->lock);
	return used;
}

void p2pbuf_quota_init(struct p2pbuf_quota *quota, u64 user_limit,
		       u64 device_limit)
{
	spin_lock_init(&quota->lock);
	INIT_LIST_HEAD(&quota->users);
	quota->user_limit = user_limit;
	quota->device_limit = device_limit;
}

static struct p2pbuf_quota_user *
p2pbuf_quota_find(struct p2pbuf_quota *quota, kuid_t uid)
{
	struct p2pbuf_quota_user *user;

	lockdep_assert_held(&quota->lock);

	list_for_each_entry(user, &quota->users, node)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/* Bytes of VRAM that the caller's user has pinned. */
u64 p2pbuf_quota_used(struct p2pbuf_quota *quota)
{
	struct p2pbuf_quota_user *user;
	u64 bytes;

	spin_lock(&quota->lock);
	user = p2pbuf_quota_find(quota, current_uid());
	bytes = user ? user->bytes : 0;
	spin_unlock(&quota->lock);
	return bytes;
}

/* Takes @user if there is no entry yet; returns it otherwise. */
static struct p2pbuf_quota_user *
p2pbuf_quota_add(struct p2pbuf_quota *quota, struct p2pbuf_quota_user *user,
		 u64 bytes, struct p2pbuf_charge *charge)
{
	struct p2pbuf_quota_user *known = p2pbuf_quota_find(quota, user->uid);

	if (!known)
		list_add(&user->node, &quota->users);
	charge->vram = known ?: user;
	charge->vram->bytes += bytes;
	charge->bytes = bytes;
	quota->pinned += bytes;
	return known ? user : NULL;
}

static bool p2pbuf_quota_is_over(struct p2pbuf_quota *quota, kuid_t uid,
				 u64 bytes)
{
	struct p2pbuf_quota_user *user = p2pbuf_quota_find(quota, uid);

	return (user ? user->bytes : 0) + bytes > quota->user_limit ||
	       quota->pinned + bytes > quota->device_limit;
}

/**
 * p2pbuf_quota_charge_vram() - charge the caller's user for pinned VRAM
 * @quota: of the region
 * @bytes: how much
 * @charge: out, for p2pbuf_quota_uncharge(); must be empty
 *
 * Return: 0, -EDQUOT, or -ENOMEM.
 */
int p2pbuf_quota_charge_vram(struct p2pbuf_quota *quota, u64 bytes,
			     struct p2pbuf_charge *charge)
{
	struct p2pbuf_quota_user *user;
	bool over;

	user = kzalloc_obj(*user);
	if (!user)
		return -ENOMEM;
	user->uid = current_uid();

	spin_lock(&quota->lock);
	over = p2pbuf_quota_is_over(quota, user->uid, bytes);
	if (!over)
		user = p2pbuf_quota_add(quota, user, bytes, charge);
	spin_unlock(&quota->lock);

	/* Asked only if it matters: the answer may be audited. */
	if (over && !capable(CAP_SYS_RESOURCE)) {
		kfree(user);
		return -EDQUOT;
	}
	if (over) {
		spin_lock(&quota->lock);
		user = p2pbuf_quota_add(quota, user, bytes, charge);
		spin_unlock(&quota->lock);
	}

	kfree(user);
	return 0;
}

/**
 * p2pbuf_quota_charge_system() - charge the caller's user for locked memory
 * @bytes: how much
 * @charge: out, for p2pbuf_quota_uncharge(); must be empty
 *
 * Return: 0 or -EDQUOT.
 */
int p2pbuf_quota_charge_system(u64 bytes, struct p2pbuf_charge *charge)
{
	struct user_struct *user = current_user();
	long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long pages = bytes >> PAGE_SHIFT;

	if (atomic_long_add_return(pages, &user->locked_vm) > limit &&
	    !capable(CAP_IPC_LOCK)) {
		atomic_long_sub(pages, &user->locked_vm);
		return -EDQUOT;
	}

	charge->system = get_uid(user);
	charge->bytes = bytes;
	return 0;
}

/* Idempotent. */
void p2pbuf_quota_uncharge(struct p2pbuf_quota *quota,
			   struct p2pbuf_charge *charge)
{
	struct p2pbuf_quota_user *user = charge->vram;

	if (user) {
		spin_lock(&quota->lock);
		quota->pinned -= charge->bytes;
		user->bytes -= charge->bytes;
		if (!user->bytes)
			list_del(&user->node);
		else
			user = NULL;
		spin_unlock(&quota->lock);
		kfree(user);
	}

	if (charge->system) {
		atomic_long_sub(charge->bytes >> PAGE_SHIFT,
				&charge->system->locked_vm);
		free_uid(charge->system);
	}

	memset(charge, 0, sizeof(*charge));
}
