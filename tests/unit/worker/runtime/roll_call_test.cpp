#include "worker/runtime/roll_call.h"

#include "tests/support/catch.h"
#include "tests/support/memory_store.h"

namespace roll_call_test {

using namespace rtrain::runtime;
using Kind = Whereabouts::Kind;

using Store = rtrain::test::MemoryStore;

TEST_CASE("roll call: a waiting rank learns who will never join it", "[unit][runtime][F15][F36]") {
  struct Row {
    Whereabouts other;
    const char* absent;
  };
  const std::vector<Row> rows = {
      {{7, Kind::kWaits, "all_reduce of gradients"}, "rank 1 is in all_reduce of gradients"},
      {{7, Kind::kWaits, "barrier"}, ""},               // the same collective
      {{6, Kind::kWaits, "broadcast of buffers"}, ""},  // behind: it may still come
      {{8, Kind::kWaits, "broadcast of buffers"}, ""},  // its own part of ours may be done
      {{7, Kind::kOutside, "all_reduce of gradients"}, ""},
      {{6, Kind::kReturned, ""}, "rank 1 has returned from its training function"},
      {{7, Kind::kReturned, ""}, ""},
  };
  for (const auto& row : rows) {
    Store store;
    RollCall(store, 1, 3).say(row.other);
    CHECK(RollCall(store, 0, 3).absent(7, "barrier") == row.absent);
  }
  Store empty;
  CHECK(RollCall(empty, 0, 3).absent(7, "barrier").empty());
}

TEST_CASE("roll call: a rank that waits for one that has returned is missed by it", "[unit][runtime]") {
  Store store;
  RollCall other(store, 1, 2), returned(store, 0, 2);
  CHECK_FALSE(returned.is_missed(5));
  other.say({5, Kind::kWaits, "barrier"});
  CHECK_FALSE(returned.is_missed(5));
  other.say({6, Kind::kWaits, "barrier"});
  CHECK(returned.is_missed(5));
  other.say({6, Kind::kReturned, ""});
  CHECK_FALSE(returned.is_missed(5));
  other.say({6, Kind::kOutside, "all_reduce"});  // on a GPU: the host waits for what the collective gives
  CHECK(returned.is_missed(5));
}

TEST_CASE("roll call: ranks meet, or learn where the others are", "[unit][runtime][F15][F36]") {
  Store store;
  RollCall one(store, 0, 2), two(store, 1, 2);
  int looks = 0;
  const auto never = [&] { return ++looks < 3; };
  CHECK(one.meet(4, "save_checkpoint()", never) == "rank 1 has not come");
  CHECK(looks == 3);
  CHECK(two.meet(4, "save_checkpoint()", never).empty());
  CHECK(one.meet(4, "save_checkpoint()", never).empty());
  CHECK(two.meet(4, "should_stop", never) == "rank 0 is in save_checkpoint()");

  two.say({5, Kind::kOutside, "all_reduce of gradients"});
  CHECK(one.meet(5, "should_stop", never) == "rank 1 is in all_reduce of gradients");
  two.say({9, Kind::kWaits, "broadcast of buffers"});
  CHECK(one.meet(5, "should_stop", never) == "rank 1 is in broadcast of buffers");
  two.say({3, Kind::kReturned, ""});
  CHECK(one.meet(5, "should_stop", never) == "rank 1 has returned from its training function");

  // One that waits in a plain collective is told of the meeting's purpose.
  one.say({5, Kind::kWaits, kMeeting});
  CHECK(two.absent(5, "barrier") == "rank 0 is in should_stop");
}

TEST_CASE("roll call: the keys of old meetings are removed", "[unit][runtime]") {
  Store store;
  RollCall one(store, 0, 2), two(store, 1, 2);
  for (std::int64_t seq = 1; seq <= 20; ++seq) {
    store.set("meet/" + std::to_string(seq) + "/1", "a");
    CHECK(one.meet(seq, "a", [] { return false; }).empty());
    CHECK(two.meet(seq, "a", [] { return false; }).empty());
  }
  CHECK(store.values.size() == 4);
}

TEST_CASE("ranks are grouped by their value", "[unit][runtime][F36]") {
  CHECK(grouped_by_value({"5", "4"}) == "5 on rank 0; 4 on rank 1");
  CHECK(grouped_by_value({"5", "4", "5", "5"}) == "5 on ranks 0, 2 and 3; 4 on rank 1");
}

TEST_CASE("roll call: at a timeout, who has not come and where they are", "[unit][runtime]") {
  Store store;
  RollCall one(store, 0, 4);
  CHECK(one.late(7).empty());
  RollCall(store, 1, 4).say({6, Kind::kOutside, "all_reduce of Float [8]"});
  RollCall(store, 2, 4).say({5, Kind::kWaits, "barrier"});
  RollCall(store, 3, 4).say({7, Kind::kWaits, "barrier"});  // it is here
  CHECK(one.late(7) ==
        "rank 1 is outside of any collective, its last was all_reduce of Float [8], rank 2 still waits in "
        "barrier");
}

TEST_CASE("roll call: values grouped under the names of their ranks", "[unit][runtime]") {
  const std::vector<int> names{2, 5, 7};
  CHECK(grouped_by_value({"a", "b", "a"}, names) == "a on ranks 2 and 7; b on rank 5");
}

}  // namespace roll_call_test
