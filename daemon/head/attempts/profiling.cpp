#include "daemon/head/attempts/profiling.h"

#include "common/log/log.h"
#include "daemon/head/attempts/ask_ranks.h"

#include <algorithm>

namespace rtrain::head {

Result<proto::ProfileDoc> Profiling::ask(JobId id, const ProfileRequest& request, const std::string& by) {
  const auto* record = context_.book.find(id);
  if (record == nullptr)
    return fail(Errc::kNotFound, "job " + to_string(id) + ": no such job", "rtrain list shows the jobs");
  // unlike that of an earlier head, whose answers may still come
  const auto number = std::max(last_number_ + 1, context_.wall() * 1000);
  const auto asked = profiles_.begin(record->state, request, number, context_.now());
  if (!asked) return asked.error();
  last_number_ = number;
  log::info("job asked for a profile",
            {{"job", to_string(id)}, {"by", by}, {"steps", std::to_string(request.steps)}});
  ask_ranks(context_, record->state, *asked, 3, "rtrain profile",
            [&](const proto::RankKey& key, const std::string& why) { profiles_.fail_rank(key, why); });
  return *profiles_.look(record->state, context_.now());
}

Result<proto::ProfileDoc> Profiling::look(JobId id) {
  const auto* record = context_.book.find(id);
  const auto doc = record == nullptr ? std::nullopt : profiles_.look(record->state, context_.now());
  if (doc) return *doc;
  return fail(Errc::kNotFound, "job " + to_string(id) + ": no profile of it is known to this head",
              "ask for one: rtrain profile " + to_string(id));
}

}  // namespace rtrain::head
