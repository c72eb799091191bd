// rtrain prune: the head forgets jobs that ended.
#include "cli/settings.h"
#include "cli/text.h"
#include "proto/jobspec/scheduling.h"

namespace rtrain::cli {

namespace {

/// A head removes some thousand jobs a second.
constexpr std::chrono::hours kTimeLimit{1};

Result<proto::Json> limits_of(const Arguments& args) {
  proto::Json body = proto::Json::object();
  if (const auto text = args.text("older-than")) {
    auto seconds = proto::parse_time_limit(*text);
    if (!seconds) return seconds.error().in("--older-than");
    body["older_than_s"] = *seconds;
  }
  auto keep = args.integer("keep", 0, 1'000'000'000'000);
  if (!keep) return keep.error();
  if (*keep) body["keep"] = **keep;
  if (body.empty())
    return fail(Errc::kInvalidArgument, "rtrain prune needs --older-than or --keep, or both",
                "rtrain help prune");
  return body;
}

/// "2 ended jobs and 1 sweep"
std::string counted(const proto::PruneDoc& pruned, const std::string& which = "") {
  std::string text = std::to_string(pruned.jobs) + which + (pruned.jobs == 1 ? " job" : " jobs");
  if (pruned.sweeps > 0)
    text += " and " + std::to_string(pruned.sweeps) + (pruned.sweeps == 1 ? " sweep" : " sweeps");
  return text;
}

Result<proto::PruneDoc> ask(const Client& client, proto::Json body, bool dry_run) {
  body["dry_run"] = dry_run;
  auto answer = client.post("/v1/prune", body, kTimeLimit);
  if (!answer) return answer.error();
  return as<proto::PruneDoc>(*answer);
}

Result<int> prune(Call& call) {
  const auto body = limits_of(call.args);
  if (!body) return body.error();
  const bool dry_run = call.args.has("dry-run");
  const bool asks = !dry_run && !call.args.has("yes");
  const Error nobody = fail(Errc::kInvalidArgument, "nothing was removed: this needs a confirmation",
                            "confirm with --yes; --dry-run shows what would be removed");
  if (asks && !call.console.err_terminal()) return nobody;
  auto client = client_of(call);
  if (!client) return client.error();
  if (asks) {
    const auto would = ask(*client, *body, true);
    if (!would) return would.error();
    if (would->jobs + would->sweeps > 0 &&
        !call.console.confirm("Delete the records of " + counted(*would, " ended") + " (" +
                              bytes(static_cast<double>(would->bytes)) + ")?"))
      return nobody;
  }
  const auto done = ask(*client, *body, dry_run);
  if (!done) return done.error();
  if (call.json())
    call.console.out(proto::dump_json(*done) + "\n");
  else
    call.console.out(counted(*done) + (dry_run ? " would be deleted, " : " deleted, ") +
                     bytes(static_cast<double>(done->bytes)) + "\n");
  return 0;
}

}  // namespace

Verb prune_verb() {
  return {.name = "prune",
          .usage = "[--older-than TIME] [--keep N]",
          .summary = "delete the records of ended jobs",
          .description =
              "Deletes events, metrics and the Result; job numbers are not reused; what a job wrote below "
              "its storage_path stays. With both\n"
              "limits, jobs beyond either are deleted. Jobs that have not ended stay, and those for which "
              "others wait. It asks on a terminal;\n"
              "elsewhere it needs --yes.",
          .outputs = {"table", "json"},
          .options = {{"older-than", 0, "TIME", "jobs that ended longer ago than this: 7d, 12h"},
                      {"keep", 0, "N", "all but the N that ended last"},
                      {"dry-run", 0, "", "only say what would go"},
                      {"yes", 'y', "", "do not ask"}},
          .examples = {{"rtrain prune --older-than 7d --dry-run", "how many there are"},
                       {"rtrain prune --older-than 7d", "delete them, after a confirmation"},
                       {"rtrain prune --keep 1000 --yes", "from a script"}},
          .run = prune};
}

}  // namespace rtrain::cli
