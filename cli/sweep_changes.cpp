// rtrain sweep submit, stop, pause, resume, extend, enqueue, retry: what the head is told to do.
#include "cli/job_file.h"
#include "cli/settings.h"
#include "cli/sweep_actions.h"
#include "cli/sweep_file.h"
#include "cli/sweep_requests.h"
#include "cli/text.h"
#include "common/base/number.h"

namespace rtrain::cli {

namespace {

std::string named(const proto::SweepDoc& sweep) {
  return "sweep " + rtrain::to_string(sweep.id) + " (" + printable(sweep.name, false) + ")";
}

Result<proto::Json> post_to_sweep(const Call& call, const std::string& action, const proto::Json& body) {
  const auto target = sweep_target(call.args.positionals[1]);
  if (!target) return target.error();
  auto client = client_of(call);
  if (!client) return client.error();
  return client->post(*target + action, body);
}

Result<int> change_sweep(const Call& call, const std::string& action,
                         const proto::Json& body = proto::Json::object()) {
  auto answer = post_to_sweep(call, "/" + action, body);
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();
  print_changed(call, *sweep, named(*sweep) + " is " + sweep->state);
  return 0;
}

/// The sweep of an answer that has something beside it.
Result<proto::SweepDoc> sweep_in(const proto::Json& answer) {
  const auto found = answer.find("sweep");
  if (found == answer.end()) return fail(Errc::kProtocol, "the head's answer has no sweep");
  return as<proto::SweepDoc>(*found);
}

}  // namespace

void print_changed(const Call& call, const proto::SweepDoc& sweep, const std::string& line) {
  if (call.json())
    call.console.out(proto::dump_json(proto::Json(sweep)) + "\n");
  else if (call.output == "name")
    call.console.out(rtrain::to_string(sweep.id) + "\n");
  else
    call.console.out(line + "\n");
}

Result<int> submit_sweep(const Call& call) {
  auto file = load_sweep(call);
  if (!file) return file.error();
  if (!report_errors(*file, call.console)) return static_cast<int>(Exit::kUsage);
  for (const auto& note : file->reading.notes) call.console.note(file->shown + ": " + note);
  resolve_paths(*file, call);
  auto client = client_of(call);
  if (!client) return client.error();
  auto answer = client->submit(proto::to_json(file->reading.spec), "/v1/sweeps");
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();
  const auto id = rtrain::to_string(sweep->id);
  print_changed(call, *sweep, named(*sweep) + " submitted; rtrain sweep show " + id);
  return 0;
}

Result<int> stop_sweep(const Call& call) {
  auto body = proto::Json::object();
  if (call.args.has("now")) body["now"] = true;
  return change_sweep(call, "stop", body);
}

Result<int> pause_sweep(const Call& call) { return change_sweep(call, "pause"); }
Result<int> resume_sweep(const Call& call) { return change_sweep(call, "resume"); }

Result<int> extend_sweep(const Call& call) {
  const auto trials = call.args.integer("trials", 1, proto::kTrialsMax);
  if (!trials) return trials.error();
  if (!*trials)
    return fail(Errc::kInvalidArgument, "rtrain sweep extend needs --trials, how many more",
                "rtrain help sweep");
  auto answer = post_to_sweep(call, "/extend", {{"trials", **trials}});
  if (!answer) return answer.error();
  auto sweep = as<proto::SweepDoc>(*answer);
  if (!sweep) return sweep.error();
  print_changed(call, *sweep, named(*sweep) + " tries " + std::to_string(sweep->trials_max) + " trials");
  return 0;
}

Result<int> enqueue_trial(const Call& call) {
  // The path of a parameter is one name: "model.width" is no field of an object "model".
  auto params = proto::Json::object();
  for (const auto& set : call.args.texts("set")) {
    const auto equals = set.find('=');
    if (equals == 0 || equals == std::string::npos)
      return fail(Errc::kInvalidArgument, "--set " + printable(set, false) + ": must be PARAMETER=VALUE");
    const auto text = set.substr(equals + 1);
    const auto value = proto::parse_json(text);
    params[set.substr(0, equals)] = value ? *value : proto::Json(text);
  }
  auto answer = post_to_sweep(call, "/trials", {{"params", std::move(params)}});
  if (!answer) return answer.error();
  const auto sweep = sweep_in(*answer);
  if (!sweep) return sweep.error();
  const auto trial = std::to_string(answer->value("trial", std::int64_t{-1}));
  if (call.json())
    call.console.out(proto::dump_json(*answer) + "\n");
  else
    call.console.out(call.output == "name" ? trial + "\n"
                                           : "trial " + trial + " of " + named(*sweep) + " is tried next\n");
  return 0;
}

Result<int> retry_trials(const Call& call) {
  auto body = proto::Json::object();
  auto& numbers = body["trials"] = proto::Json::array();
  for (std::size_t i = 2; i < call.args.positionals.size(); ++i) {
    const auto number = whole_number(call.args.positionals[i]);
    if (!number || *number < 0)
      return fail(Errc::kInvalidArgument,
                  "'" + printable(call.args.positionals[i], false) + "' is no number of a trial");
    numbers.push_back(*number);
  }
  const bool failed = call.args.has("failed");
  if (numbers.empty() != failed)
    return fail(Errc::kInvalidArgument, "rtrain sweep retry takes numbers of trials, or --failed",
                "rtrain sweep trials shows them");
  if (failed) body.erase("trials");
  auto answer = post_to_sweep(call, "/retry", body);
  if (!answer) return answer.error();
  const auto sweep = sweep_in(*answer);
  if (!sweep) return sweep.error();
  const auto made = answer->value("trials", std::vector<std::int64_t>{});
  if (call.json()) {
    call.console.out(proto::dump_json(*answer) + "\n");
    return 0;
  }
  std::string line;
  for (const auto trial : made)
    line += (call.output == "name" || line.empty() ? "" : ", ") + std::to_string(trial) +
            (call.output == "name" ? "\n" : "");
  if (call.output == "name")
    call.console.out(line);
  else
    call.console.out(made.empty() ? "no trial of " + named(*sweep) + " has failed\n"
                                  : named(*sweep) + " tries them again as " + line + "\n");
  return 0;
}

}  // namespace rtrain::cli
