// rtrain list: the jobs that the head knows.
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/settings.h"
#include "common/os/file.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

const std::vector<std::string>& states() {
  static const std::vector<std::string> names = {"QUEUED", "STARTING", "RUNNING", "STOPPING", "SUCCEEDED", "FAILED", "CANCELLED"};
  return names;
}

Result<std::string> query_of(const Call& call) {
  auto state = call.args.text("state");
  if (!state) return std::string();
  std::transform(state->begin(), state->end(), state->begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (std::find(states().begin(), states().end(), *state) == states().end()) {
    const std::string near = proto::nearest(*state, states());
    std::string known;
    for (const auto& name : states()) known += (known.empty() ? "" : ", ") + name;
    return fail(Errc::kInvalidArgument, "--state " + *state + ": " + (near.empty() ? "must be one of " + known : "did you mean " + near + "?"));
  }
  return "?state=" + *state;
}

Result<int> list(Call& call) {
  auto limit = call.args.integer("limit", 1, 1'000'000);
  if (!limit) return limit.error();
  auto query = query_of(call);
  if (!query) return query.error();
  auto client = client_of(call);
  if (!client) return client.error();
  auto answer = client->get("/v1/jobs" + *query);
  if (!answer) return answer.error();
  auto jobs = as_list<proto::JobDoc>(*answer, "jobs");
  if (!jobs) return jobs.error();
  const std::size_t shown = std::min(jobs->size(), static_cast<std::size_t>((*limit).value_or(1'000'000)));
  if (call.json()) {
    auto& array = (*answer)["jobs"];
    array.erase(array.begin() + static_cast<std::ptrdiff_t>(shown), array.end());
    call.console.out(proto::dump_json(*answer) + "\n");
    return 0;
  }
  if (call.output == "name") {
    for (std::size_t i = 0; i < shown; ++i) call.console.out(rtrain::to_string((*jobs)[i].id) + "\n");
    return 0;
  }
  if (jobs->empty()) {
    call.console.note("no jobs");
    return 0;
  }
  call.console.print(job_table(std::span(*jobs).first(shown), os::unix_ms_now()));
  if (shown < jobs->size()) call.console.note(std::to_string(jobs->size() - shown) + " more");
  return 0;
}

}  // namespace

Verb list_verb() {
  return {.name = "list",
          .usage = "",
          .summary = "list the jobs, newest first",
          .outputs = {"table", "json", "name"},
          .options = {{"state", 's', "STATE", "only QUEUED, STARTING, RUNNING, STOPPING, SUCCEEDED, FAILED or CANCELLED"},
                      {"limit", 'n', "N", "at most N jobs"}},
          .examples = {{"rtrain list", "all jobs"},
                       {"rtrain list --state running", "those that run"},
                       {"rtrain cancel --yes $(rtrain list --state queued -o name)", "cancel all that wait"}},
          .run = list};
}

}  // namespace rtrain::cli
