/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of a mapping's life: map, invalidate, drained, unmapped. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM p2pbuf

#if !defined(P2PBUF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define P2PBUF_TRACE_H

#include <linux/tracepoint.h>
#include "p2pbuf_core.h"

TRACE_EVENT(p2pbuf_map,
	TP_PROTO(struct p2pbuf_attachment *att, int ret),
	TP_ARGS(att, ret),
	TP_STRUCT__entry(
		__string(importer, att->ops->name)
		__string(dev, dev_name(att->dev))
		__field(u64, context)
		__field(u64, generation)
		__field(u32, path)
		__field(u32, reason)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(importer);
		__assign_str(dev);
		__entry->context = att->fence_context;
		__entry->generation = att->path.generation;
		__entry->path = att->path.path;
		__entry->reason = att->path.reason;
		__entry->ret = ret;
	),
	TP_printk("%s %s attachment=%llu generation=%llu path=%u reason=%u ret=%d",
		  __get_str(importer), __get_str(dev), __entry->context,
		  __entry->generation, __entry->path, __entry->reason,
		  __entry->ret)
);

DECLARE_EVENT_CLASS(p2pbuf_mapping,
	TP_PROTO(struct p2pbuf_mapping *m),
	TP_ARGS(m),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u64, generation)
	),
	TP_fast_assign(
		__entry->context = m->fence->context;
		__entry->generation = m->fence->seqno;
	),
	TP_printk("attachment=%llu generation=%llu", __entry->context,
		  __entry->generation)
);

DEFINE_EVENT(p2pbuf_mapping, p2pbuf_invalidate,
	TP_PROTO(struct p2pbuf_mapping *m), TP_ARGS(m));
DEFINE_EVENT(p2pbuf_mapping, p2pbuf_drained,
	TP_PROTO(struct p2pbuf_mapping *m), TP_ARGS(m));
DEFINE_EVENT(p2pbuf_mapping, p2pbuf_unmapped,
	TP_PROTO(struct p2pbuf_mapping *m), TP_ARGS(m));

TRACE_EVENT(p2pbuf_revoked,
	TP_PROTO(struct p2pbuf_attachment *att),
	TP_ARGS(att),
	TP_STRUCT__entry(
		__string(importer, att->ops->name)
		__string(dev, dev_name(att->dev))
		__field(u64, context)
	),
	TP_fast_assign(
		__assign_str(importer);
		__assign_str(dev);
		__entry->context = att->fence_context;
	),
	TP_printk("%s %s attachment=%llu", __get_str(importer),
		  __get_str(dev), __entry->context)
);

#endif /* P2PBUF_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
