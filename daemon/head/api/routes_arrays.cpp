// /v1/arrays: what is done to many jobs of an array at once.
#include "common/base/clip.h"
#include "daemon/head/api/route_call.h"

namespace rtrain::head {
namespace {

Reply change(const RouteCall& call, const proto::JobEvent& event) {
  const auto& text = call.arguments[0];
  const auto array = whole_number(text);
  if (!array)
    return call.error(fail(Errc::kNotFound, "array " + clipped(text, 64) + ": no such array",
                           "rtrain list shows the jobs"));
  const auto body = body_of(call, {"indices"});
  if (!body) return call.error(body.error());
  const auto wanted = field_of<std::string>(*body, "indices", "");
  if (!wanted) return call.error(wanted.error());
  std::optional<std::vector<int>> indices;
  if (!wanted->empty()) {
    auto spec = proto::parse_array(*wanted);
    if (!spec) return call.error(spec.error().in("indices"));
    indices = std::move(spec->indices);
  }
  auto changed = call.dispatcher.commands().for_array(JobId(*array), indices, event);
  if (!changed) return call.error(changed.error());
  return call.json(proto::ArrayReply{JobId(*array), std::move(*changed)});
}

Reply cancel_array(const RouteCall& call) { return change(call, proto::CancelRequested{call.by()}); }
Reply hold_array(const RouteCall& call) { return change(call, proto::JobHeld{call.by()}); }
Reply release_array(const RouteCall& call) { return change(call, proto::JobReleased{call.by()}); }

}  // namespace

std::vector<Handler> array_routes() {
  return {
      {{http::verb::post, "/v1/arrays/{id}/cancel"}, cancel_array},
      {{http::verb::post, "/v1/arrays/{id}/hold"}, hold_array},
      {{http::verb::post, "/v1/arrays/{id}/release"}, release_array},
  };
}

}  // namespace rtrain::head
