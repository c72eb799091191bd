#include "daemon/head/attempts/profiling.h"

#include "common/log/log.h"

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
  std::map<std::string, std::vector<int>> asked_of;
  for (const int rank : asked->ranks) {
    const auto& node = record->state.ranks[static_cast<std::size_t>(rank)].placement.node;
    const proto::RankKey key{id, asked->attempt, rank};
    const auto session = context_.nodes.session(node);
    if (!session)
      profiles_.fail_rank(key, "node " + node + " is not connected");
    else if (session->version() < 3)
      profiles_.fail_rank(key, "the agent of node " + node + " is older than rtrain profile: upgrade it");
    else
      asked_of[node].push_back(rank);
  }
  for (auto& [node, ranks] : asked_of) {
    auto message = *asked;
    message.ranks = std::move(ranks);
    send_when_durable(context_.gate, context_.nodes.session(node), message);
  }
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
