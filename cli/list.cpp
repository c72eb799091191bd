// rtrain list: the jobs that the head knows.
#include "cli/job_reference.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/settings.h"
#include "common/os/file.h"

#include <algorithm>
#include <limits>

namespace rtrain::cli {

namespace {

const std::vector<std::string>& states() {
  static const std::vector<std::string> names = {"QUEUED", "STARTING", "RUNNING", "STOPPING", "SUCCEEDED", "FAILED", "CANCELLED"};
  return names;
}

Result<std::string> state_of(std::string state) {
  std::transform(state.begin(), state.end(), state.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (std::find(states().begin(), states().end(), state) != states().end()) return state;
  const std::string near = proto::nearest(state, states());
  std::string known;
  for (const auto& name : states()) known += (known.empty() ? "" : ", ") + name;
  return fail(Errc::kInvalidArgument, "--state " + state + ": " + (near.empty() ? "must be one of " + known : "did you mean " + near + "?"));
}

Result<std::string> query_of(const Call& call) {
  std::string query;
  const auto add = [&](const std::string& name, const std::string& value) { query += (query.empty() ? "?" : "&") + name + "=" + value; };
  if (const auto text = call.args.text("state")) {
    auto state = state_of(*text);
    if (!state) return state.error();
    add("state", *state);
  }
  if (const auto user = call.args.text("user")) {
    const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '@'; };
    if (user->empty() || !std::all_of(user->begin(), user->end(), plain)) return fail(Errc::kInvalidArgument, "--user '" + *user + "': no user has such a name");
    add("user", *user);
  }
  auto array = call.args.integer("array", 1, std::numeric_limits<std::int64_t>::max());
  if (!array) return array.error();
  if (*array) add("array", std::to_string(**array));
  return query;
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
    for (std::size_t i = 0; i < shown; ++i) call.console.out(job_name_of((*jobs)[i]) + "\n");
    return 0;
  }
  if (jobs->empty()) {
    call.console.note("no jobs");
    return 0;
  }
  call.console.print(job_table(std::span(*jobs).first(shown), os::unix_ms_now(), call.output == "wide"));
  if (shown < jobs->size()) call.console.note(std::to_string(jobs->size() - shown) + " more");
  return 0;
}

}  // namespace

Verb list_verb() {
  return {.name = "list",
          .usage = "",
          .summary = "list the jobs, newest first",
          .outputs = {"table", "wide", "json", "name"},
          .options = {{"state", 's', "STATE", "only QUEUED, STARTING, RUNNING, STOPPING, SUCCEEDED, FAILED or CANCELLED"},
                      {"user", 'u', "NAME", "only the jobs of this user"},
                      {"array", 0, "ID", "only the jobs of this array"},
                      {"limit", 'n', "N", "at most N jobs"}},
          .examples = {{"rtrain list", "all jobs"},
                       {"rtrain list --state running", "those that run"},
                       {"rtrain list -u ann -o wide", "those of a user, with queue and priority"},
                       {"rtrain cancel --yes $(rtrain list --state queued -o name)", "cancel all that wait"}},
          .run = list};
}

}  // namespace rtrain::cli
