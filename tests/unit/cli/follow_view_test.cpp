#include "cli/follow_view.h"
#include "tests/support/catch.h"

namespace follow_view_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

proto::JobDoc job(std::string state, int workers = 2) {
  proto::JobDoc doc;
  doc.id = JobId(42);
  doc.name = "mnist";
  doc.state = std::move(state);
  doc.num_workers = workers;
  doc.attempt = 1;
  return doc;
}

proto::ProgressDoc at(std::int64_t epoch, std::int64_t step) {
  return {.stage = "train",
          .epoch = epoch,
          .step = step,
          .steps = 100,
          .steps_per_s = 10,
          .prog_bar = {{"loss", 0.5}}};
}

std::string text(const Pieces& pieces, bool to_stderr) {
  std::string out;
  for (const auto& piece : pieces)
    if (piece.to_stderr == to_stderr) out += piece.text;
  return out;
}
std::string err(const Pieces& pieces) { return text(pieces, true); }
std::string out(const Pieces& pieces) { return text(pieces, false); }

}  // namespace

TEST_CASE("follow_view: in a pipe a state is said once, and its reason", "[unit][cli]") {
  FollowView view({});
  auto queued = job("QUEUED");
  queued.attempt = 0;
  queued.reason = "needs 2 GPUs, 1 is free";
  CHECK(err(view.on_state(queued, 0)) == "job 42 (mnist): QUEUED: needs 2 GPUs, 1 is free\n");
  CHECK(view.on_state(queued, 1).empty());
  queued.reason = "position 2";
  CHECK(view.on_state(queued, 2).empty());  // a reason that flickers is not a log
  CHECK(err(view.on_state(queued, 20)) == "job 42 (mnist): QUEUED: position 2\n");
  CHECK(err(view.on_state(job("STARTING"), 21)) == "job 42 (mnist): STARTING\n");
  CHECK(view.on_state(job("SUCCEEDED"), 22).empty());  // the Result says it
}

TEST_CASE("follow_view: a reason that came too soon after another is said when its time has come",
          "[unit][cli]") {
  FollowView view({});
  auto queued = job("QUEUED");
  queued.attempt = 0;
  queued.reason = "position 3";
  (void)view.on_state(queued, 0);
  queued.reason = "position 2";
  CHECK(view.on_state(queued, 2).empty());
  CHECK(view.on_tick(9).empty());
  CHECK(err(view.on_tick(10)) == "job 42 (mnist): QUEUED: position 2\n");
  CHECK(view.on_tick(30).empty());
}

TEST_CASE("follow_view: log lines go to stdout with the rank in front, whole lines only", "[unit][cli]") {
  FollowView view({});
  (void)view.on_state(job("RUNNING"), 0);
  CHECK(view.on_log(1, 0, "hel", 1).empty());
  CHECK(out(view.on_log(1, 1, "other\n", 1)) == "[r1] other\n");
  CHECK(out(view.on_log(1, 0, "lo\nwor", 2)) == "[r0] hello\n");
  CHECK(out(view.finish(3)) == "[r0] wor\n");
}

TEST_CASE("follow_view: one worker needs no prefix; with a document on stdout logs go to stderr",
          "[unit][cli]") {
  FollowView alone({});
  (void)alone.on_state(job("RUNNING", 1), 0);
  CHECK(out(alone.on_log(1, 0, "a\nb\n", 0)) == "a\nb\n");
  FollowView json({.logs_to_stderr = true});
  (void)json.on_state(job("RUNNING", 1), 0);
  const auto pieces = json.on_log(1, 0, "a\n", 0);
  CHECK(err(pieces) == "a\n");
  CHECK(out(pieces).empty());
}

TEST_CASE("follow_view: logs cannot steer the terminal; a redrawn line is its last form", "[unit][cli]") {
  FollowView view({.log_colour = true});
  (void)view.on_state(job("RUNNING", 1), 0);
  CHECK(out(view.on_log(1, 0, "\x1b[2J\x1b[32mgreen\x1b[0m\x1b]0;x\a\n", 0)) ==
        "\x1b[32mgreen\x1b[0m\x1b[0m\n");
  CHECK(out(view.on_log(1, 0, " 10%\r 50%\r100%\r\n", 0)) == "100%\n");
}

TEST_CASE("follow_view: in a pipe progress is rare, and the end of an epoch is told", "[unit][cli]") {
  FollowView view({});
  (void)view.on_state(job("RUNNING"), 0);
  CHECK(err(view.on_progress(at(0, 10), 1)) == "Epoch 0: 10/100 [00:01<00:09, 10it/s, loss=0.5]\n");
  CHECK(view.on_progress(at(0, 20), 2).empty());
  CHECK(view.on_progress(at(0, 99), 9).empty());
  CHECK(err(view.on_progress(at(1, 1), 10)) == "Epoch 0: 99/100 [00:10<00:00, 10it/s, loss=0.5]\n");
  CHECK(view.on_progress(at(1, 90), 19).empty());
  CHECK(err(view.on_progress(at(1, 95), 20)) == "Epoch 1: 95/100 [00:10<00:00, 10it/s, loss=0.5]\n");
  CHECK(view.finish(21).empty());  // that line stands already
}

TEST_CASE("follow_view: on a terminal one line is redrawn below the logs", "[unit][cli]") {
  FollowView view({.live = true});
  view.set_width(80);
  CHECK(err(view.on_state(job("STARTING"), 0)) == "job 42 (mnist): STARTING  0/2 ranks running  00:00");
  CHECK(err(view.on_tick(3)) == "\r\x1b[Kjob 42 (mnist): STARTING  0/2 ranks running  00:03");
  (void)view.on_state(job("RUNNING"), 4);
  CHECK(err(view.on_progress(at(0, 50), 5)) ==
        "\r\x1b[KEpoch 0:  50%|█████     | 50/100 [00:05<00:05, 10it/s, loss=0.5]");
  CHECK(view.on_progress(at(0, 50), 5).empty());
  const Pieces log = view.on_log(1, 1, "hi\n", 5);
  CHECK(log == Pieces{{true, "\r\x1b[K"},
                      {false, "[r1] hi\n"},
                      {true, "Epoch 0:  50%|█████     | 50/100 [00:05<00:05, 10it/s, loss=0.5]"}});
  CHECK(err(view.finish(10)).ends_with("\n"));
  CHECK(view.finish(11).empty());
}

TEST_CASE("follow_view: the live line is never wider than the terminal", "[unit][cli]") {
  FollowView view({.live = true});
  view.set_width(30);
  auto queued = job("QUEUED");
  queued.reason = "a reason much longer than thirty columns";
  CHECK(err(view.on_state(queued, 0)) == "job 42 (mnist): QUEUED  a re…");
}

TEST_CASE("follow_view: a failed attempt that is tried again is told on both", "[unit][cli]") {
  for (const bool live : {false, true}) {
    FollowView view({.live = live});
    (void)view.on_state(job("RUNNING"), 0);
    auto again = job("QUEUED");
    again.failures = 1;
    again.max_failures = 2;
    again.reason = "is about to start";  // the queue's word on the next attempt, not on this failure
    again.error =
        proto::JobError{.message = "rank 1 on node b: was killed by signal 9 (Killed)", .attempt = 1};
    CHECK(err(view.on_state(again, 1))
              .find("attempt 1 failed: rank 1 on node b: was killed by signal 9 (Killed) (failure 1, "
                    "max_failures 2)\n") != std::string::npos);
    again.failures = 3;
    // the Result tells of the last one
    CHECK(err(view.on_state(again, 2)).find("failed") == std::string::npos);
  }
}

TEST_CASE("follow_view: reports are told, at most one a second unless they bring a checkpoint",
          "[unit][cli]") {
  FollowView view({});
  (void)view.on_state(job("RUNNING"), 0);
  proto::MetricPoint point{.attempt = 1, .seq = 1, .metrics = {{"loss", 0.5}}};
  CHECK(err(view.on_report(point, 10)) == "report 1: loss=0.5\n");
  point.seq = 2;
  CHECK(view.on_report(point, 10.2).empty());
  point.seq = 3;
  point.checkpoint = "/runs/x/checkpoint_000001";
  CHECK(err(view.on_report(point, 10.4)) == "report 3: loss=0.5 [checkpoint_000001]\n");
  point.attempt = 2;
  point.seq = 1;  // counted anew
  CHECK(err(view.on_report(point, 10.6)) == "attempt 2, report 1: loss=0.5 [checkpoint_000001]\n");
}

TEST_CASE("follow_view: a line that is redrawn for hours is shown now and then", "[unit][cli]") {
  FollowView view({.plain_progress_s = 10});
  (void)view.on_state(job("RUNNING"), 0);
  CHECK(out(view.on_log(1, 0, "epoch 1: 10%", 1)).empty());
  CHECK(out(view.on_log(1, 0, "\repoch 1: 20%\r", 2)) == "[r0] epoch 1: 10%\n");
  CHECK(out(view.on_log(1, 0, "epoch 1: 30%\repoch 1: 40%\r", 5)).empty());
  CHECK(out(view.on_log(1, 0, "epoch 1: 50%", 13)) == "[r0] epoch 1: 40%\n");
  CHECK(out(view.on_log(1, 0, "\repoch 1: 100%\r\nend\r", 14)) == "[r0] epoch 1: 100%\n");
  CHECK(out(view.on_log(1, 0, "\n", 40)) == "[r0] end\n");  // a line end in two pieces
}

TEST_CASE("follow_view: without states only logs are shown", "[unit][cli]") {
  FollowView view({.states = false});
  CHECK(view.on_state(job("RUNNING"), 0).empty());
  CHECK(view.on_progress(at(0, 1), 1).empty());
  CHECK(view.on_report({}, 1).empty());
  CHECK(out(view.on_log(1, 0, "x\n", 1)) == "[r0] x\n");
}

}  // namespace follow_view_test
