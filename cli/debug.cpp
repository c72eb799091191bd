// rtrain debug: which rank of a job waits for whom, in which collective, with the stacks of all.
#include "cli/job_reference.h"
#include "cli/parse.h"
#include "cli/rank_list.h"
#include "cli/settings.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wait_while.h"
#include "common/base/runs.h"

#include <algorithm>
#include <cmath>

namespace rtrain::cli {

namespace {

constexpr double kDebugTimeoutS = 10;
constexpr std::size_t kFramesShown = 24;

std::string step_words(const proto::RankSnapshot& at) {
  if (at.stage.empty()) return "";
  return (at.epoch > 0 ? std::to_string(at.epoch) + ":" : "") + std::to_string(at.step) +
         (at.stage == "train" ? "" : " " + at.stage);
}

std::string seconds_words(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, seconds < 10 ? "%.1f s" : "%.0f s", seconds);
  return text;
}

std::string table_of(const proto::DebugDoc& doc, const Console& console) {
  Table table({">RANK", "NODE", "STATE", ">STEP", ">FOR", "WAITS FOR", "IS IN"});
  for (const auto& rank : doc.ranks) {
    const bool suspected = doc.culprit == rank.rank;
    table.add({Cell(std::to_string(rank.rank), suspected ? Style::kBold : Style::kPlain), rank.node,
               rank.state, rank.snapshot ? step_words(*rank.snapshot) : "",
               rank.where.empty() ? "" : seconds_words(rank.where_s), runs_text(rank.waits_for, ","),
               rank.where.empty() ? rank.error : rank.where});
  }
  return table.str(0, console.out_colour());
}

/// Ranks with the same stack together; addresses may differ.
std::string stacks_of(const proto::DebugDoc& doc) {
  std::vector<std::pair<std::vector<std::string>, std::vector<int>>> stacks;
  std::string text;
  for (const auto& rank : doc.ranks) {
    if (!rank.snapshot) continue;
    if (rank.snapshot->stack.empty()) {
      if (!rank.snapshot->stack_error.empty())
        text += "\nrank " + std::to_string(rank.rank) + " has no stack: " + rank.snapshot->stack_error + "\n";
      continue;
    }
    const auto same =
        std::ranges::find_if(stacks, [&](const auto& one) { return one.first == rank.snapshot->stack; });
    if (same != stacks.end())
      same->second.push_back(rank.rank);
    else
      stacks.push_back({rank.snapshot->stack, {rank.rank}});
  }
  for (const auto& [frames, ranks] : stacks) {
    text += "\nstack of rank" + std::string(ranks.size() > 1 ? "s " : " ") + runs_text(ranks, ",") + ":\n";
    for (std::size_t i = 0; i < std::min(frames.size(), kFramesShown); ++i) text += "  " + frames[i] + "\n";
    if (frames.size() > kFramesShown)
      text += "  ... and " + std::to_string(frames.size() - kFramesShown) + " more: -o json\n";
  }
  return text;
}

Result<int> debug(Call& call) {
  const auto ranks = parse_ranks(call.args.text("ranks").value_or("all"));
  if (!ranks) return ranks.error().in("--ranks");
  const auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  auto client = client_of(call);
  if (!client) return client.error();
  const auto& name = call.args.positionals.front();
  const auto id = find_job(*client, name);
  if (!id) return id.error();
  const auto target = "/v1/jobs/" + std::to_string(*id) + "/debug";
  const proto::Json body{{"ranks", ranks->empty() ? proto::Json("all") : proto::Json(*ranks)},
                         {"timeout_s", timeout->value_or(kDebugTimeoutS)}};
  const auto asked = client->post(target, body);
  // A job that does not run any more has what was kept of its last attempt.
  if (!asked && asked.error().code() != Errc::kConflict) return asked.error();
  const auto doc =
      asked ? wait_while<proto::DebugDoc>("asking", *client, target) : [&]() -> Result<proto::DebugDoc> {
    auto answer = client->get(target);
    if (!answer) return answer.error().code() == Errc::kNotFound ? asked.error() : answer.error();
    return as<proto::DebugDoc>(*answer);
  }();
  if (!doc) return doc.error();
  if (call.json()) {
    call.console.out(proto::dump_json(*doc) + "\n");
    return 0;
  }
  if (!asked)
    call.console.note("the job does not run: this is what its ranks answered in attempt " +
                      std::to_string(doc->attempt) +
                      (doc->reason == "hang"      ? ", when it hung"
                       : doc->reason == "failure" ? ", when it failed"
                                                  : ""));
  call.console.out(table_of(*doc, call.console) + "\n" + printable(doc->verdict, false) + "\n" +
                   stacks_of(*doc));
  return 0;
}

}  // namespace

Verb debug_verb() {
  return {.name = "debug",
          .usage = "ID",
          .summary = "which rank of a job waits for whom, and where",
          .description =
              "The ranks of a running job are asked where they are, without a restart and without a "
              "debugger: in which "
              "collective of which\n"
              "unit each waits, for how long, and for which ranks, which are those that have not come to it "
              "or came "
              "with another call. The\n"
              "stacks of their main threads follow. A rank that hangs answers, too; one that does not answer "
              "in time "
              "is silent. Of an attempt\n"
              "that hung or failed the head keeps the last answers: they are shown of a job that does not "
              "run any "
              "more. Status 7 when\n"
              "nothing of the job runs and nothing was kept.",
          .positionals_min = 1,
          .positionals_max = 1,
          .outputs = {"table", "json"},
          .options = {{"ranks", 0, "LIST", "ask these ranks: 0, 0,2-4 or all (default all)"},
                      {"timeout", 0, "SECONDS", "for the answers, 1 to 300 (default 10)"}},
          .examples = {{"rtrain debug 42", "a table, a sentence and the stacks"},
                       {"rtrain debug 42 --ranks 0,8 -o json", "of two ranks, for programs"}},
          .run = debug};
}

}  // namespace rtrain::cli
