// SPDX-License-Identifier: GPL-2.0
/*
 * What an administrator sees: debugfs and fdinfo. Both end with the region's
 * registration, so what they read is there.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "exporter.h"

static const char * const p2pbuf_refusal_names[P2PBUF_REFUSALS] = {
	[P2PBUF_REFUSED_NO_SPACE] = "no_space",
	[P2PBUF_REFUSED_RESIDENT_LIMIT] = "resident_limit",
	[P2PBUF_REFUSED_PIN_LIMIT] = "pin_limit",
	[P2PBUF_REFUSED_FIXED] = "pinned_or_vmapped",
	[P2PBUF_REFUSED_BUSY] = "busy",
	[P2PBUF_REFUSED_FAR_ATTACHED] = "far_importer_attached",
	[P2PBUF_REFUSED_FAR_IMPORTER] = "far_importer",
	[P2PBUF_REFUSED_NO_SYSTEM] = "no_system_place",
	[P2PBUF_REFUSED_FOREIGN] = "foreign_dmabuf",
	[P2PBUF_REFUSED_READ_ONLY] = "read_only_dmabuf",
	[P2PBUF_REFUSED_PRIVILEGE] = "privilege",
	[P2PBUF_REFUSED_GONE] = "gone",
	[P2PBUF_REFUSED_PAGES] = "pages_in_use",
	[P2PBUF_REFUSED_NOT_PAGED] = "not_paged",
	[P2PBUF_REFUSED_WINDOW] = "window_registration",
	[P2PBUF_REFUSED_SLOT] = "registration_slot",
};

static int p2pbuf_debugfs_counters(struct seq_file *m, void *unused)
{
	struct drm_debugfs_entry *entry = m->private;
	struct p2pbuf_region *region = to_p2pbuf_region(entry->dev);
	unsigned int i;

	seq_printf(m, "moves %lld\n", atomic64_read(&region->moves));
	seq_printf(m, "evictions %lld\n", atomic64_read(&region->evictions));
	seq_printf(m, "registrations %lld\n",
		   atomic64_read(&region->registrations));
	seq_printf(m, "page_waits %lld\n", atomic64_read(&region->page_waits));
	seq_printf(m, "busy_victims %lld\n",
		   atomic64_read(&region->busy_victims));
	seq_printf(m, "quarantines %lld\n",
		   atomic64_read(&region->quarantines));
	seq_printf(m, "quarantined %d\n", atomic_read(&region->quarantined));
	for (i = 0; i < P2PBUF_REFUSALS; i++)
		seq_printf(m, "refused_%s %lld\n", p2pbuf_refusal_names[i],
			   atomic64_read(&region->refusals[i]));
	return 0;
}

/*
 * Read without the objects' resv, which may be held for as long as a move
 * takes: the figures of a line need not fit each other.
 */
static int p2pbuf_debugfs_objects(struct seq_file *m, void *unused)
{
	struct drm_debugfs_entry *entry = m->private;
	struct p2pbuf_region *region = to_p2pbuf_region(entry->dev);
	struct p2pbuf_object *obj;

	seq_puts(m, "size placement flags pins vmaps far vram_mappings generation evictions mappings registrations\n");
	spin_lock(&region->objects_lock);
	list_for_each_entry(obj, &region->objects, region_node)
		seq_printf(m, "%zu %s %#x %u %u %u %u %llu %llu %llu %u\n",
			   obj->tbo.base.size,
			   READ_ONCE(obj->placement) == P2PBUF_PLACEMENT_VRAM ?
				"vram" : "system",
			   obj->flags, READ_ONCE(obj->pins),
			   READ_ONCE(obj->vmaps),
			   READ_ONCE(obj->far_attachments),
			   READ_ONCE(obj->vram_mappings),
			   READ_ONCE(obj->generation),
			   READ_ONCE(obj->evictions),
			   READ_ONCE(obj->mappings),
			   READ_ONCE(obj->registrations));
	spin_unlock(&region->objects_lock);
	return 0;
}

static const struct drm_debugfs_info p2pbuf_debugfs_files[] = {
	{ .name = "counters", .show = p2pbuf_debugfs_counters },
	{ .name = "objects", .show = p2pbuf_debugfs_objects },
};

/* Before registration; DRM takes the files away at unplug. */
void p2pbuf_debugfs_init(struct p2pbuf_region *region)
{
	drm_debugfs_add_files(&region->drm, p2pbuf_debugfs_files,
			      ARRAY_SIZE(p2pbuf_debugfs_files));
}

/*
 * drm_show_memory_stats() knows one kind of memory; two regions in its
 * format tell where objects are. Windows own no memory and are left out.
 */
void p2pbuf_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct drm_memory_stats vram = {}, system = {}, *stats;
	struct drm_gem_object *gem;
	struct p2pbuf_object *obj;
	int id;

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, gem, id) {
		obj = to_p2pbuf_object(gem);
		if (p2pbuf_object_is_window(obj))
			continue;

		stats = READ_ONCE(obj->placement) == P2PBUF_PLACEMENT_VRAM ?
			&vram : &system;
		if (drm_gem_object_is_shared_for_memory_stats(gem))
			stats->shared += gem->size;
		else
			stats->private += gem->size;
		stats->resident += gem->size;
		if (!dma_resv_test_signaled(gem->resv,
					    dma_resv_usage_rw(true)))
			stats->active += gem->size;
	}
	spin_unlock(&file->table_lock);

	drm_print_memory_stats(p, &vram,
			       DRM_GEM_OBJECT_RESIDENT | DRM_GEM_OBJECT_ACTIVE,
			       "vram");
	drm_print_memory_stats(p, &system,
			       DRM_GEM_OBJECT_RESIDENT | DRM_GEM_OBJECT_ACTIVE,
			       "system");
}
