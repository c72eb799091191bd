#include "cli/sweep_requests.h"

#include "cli/client.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "common/base/number.h"

namespace rtrain::cli {

std::string sweep_target(JobId sweep) { return "/v1/sweeps/" + rtrain::to_string(sweep); }

Result<AskedSweep> asked_sweep(const Call& call) {
  auto target = sweep_target(call.args.positionals[1]);
  if (!target) return target.error();
  auto get = get_of_head(call);
  if (!get) return get.error();
  return AskedSweep{std::move(*target), std::move(*get)};
}

Result<std::string> sweep_target(const std::string& text) {
  const auto id = whole_number(text);
  if (!id || *id < 1)
    return fail(Errc::kInvalidArgument, "'" + printable(text, false) + "' is no number of a sweep",
                "rtrain sweep list shows the sweeps");
  return sweep_target(JobId(*id));
}

Result<proto::SweepDoc> read_sweep(const Get& get, const std::string& sweep) {
  auto answer = get(sweep);
  if (!answer) return answer.error();
  return as<proto::SweepDoc>(*answer);
}

Result<std::vector<proto::TrialDoc>> trials_of(const Get& get, const std::string& sweep, std::int64_t from) {
  std::vector<proto::TrialDoc> list;
  for (;;) {
    auto answer = get(sweep + "/trials?limit=10000&from=" + std::to_string(from));
    if (!answer) return answer.error();
    auto page = as_list<proto::TrialDoc>(*answer, "trials");
    if (!page) return page.error();
    list.insert(list.end(), page->begin(), page->end());
    if (!answer->value("more", false)) return list;
    from = answer->value("next", from);
  }
}

Result<std::vector<proto::TrialDoc>> best_trials(const Get& get, const std::string& sweep, int limit) {
  auto answer = get(sweep + "/trials?order=best&limit=" + std::to_string(limit));
  if (!answer) return answer.error();
  return as_list<proto::TrialDoc>(*answer, "trials");
}

Result<std::string> best_checkpoint(const Get& get, JobId job) {
  auto result = get("/v1/jobs/" + rtrain::to_string(job) + "/result");
  if (!result) return result.error().code() == Errc::kNotFound ? Result<std::string>("") : result.error();
  const auto doc = as<proto::ResultDoc>(*result);
  if (!doc) return doc.error();
  return doc->best_checkpoints.empty() ? "" : doc->best_checkpoints.front().path;
}

}  // namespace rtrain::cli
