// Apache Curator's lock, driven line by line: what test/bench/lock compares the ZooKeeper driver with.
//
//   java -cp "$(cat test/bench/curator/classpath.txt)" test/bench/curator/CuratorBench.java host:port
//
// Prints `ready`, then answers each line of its input with one line:
//   pairs <count> <path>            milliseconds for so many pairs of acquire and release, in turn
//   tasks <threads> <count> <path>  milliseconds for so many pairs, by that many threads on one mutex
//   handoff <count> <path>          median milliseconds from release() to the waiter's acquire()
// Ends with its input. A wrong line is answered with `error` and the reason.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.ExponentialBackoffRetry;

public final class CuratorBench {
  private static final int SESSION_TIMEOUT_MS = 10_000;

  private CuratorBench() {}

  public static void main(String[] args) throws Exception {
    try (CuratorFramework client = connect(args[0]);
        CuratorFramework other = connect(args[0])) {
      System.out.println("ready");
      BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
      for (String line = input.readLine(); line != null; line = input.readLine()) {
        System.out.println(answer(line.trim().split("\\s+"), client, other));
      }
    }
    System.exit(0);
  }

  private static CuratorFramework connect(String servers) throws InterruptedException {
    CuratorFramework client =
        CuratorFrameworkFactory.newClient(
            servers, SESSION_TIMEOUT_MS, SESSION_TIMEOUT_MS, new ExponentialBackoffRetry(100, 5));
    client.start();
    client.blockUntilConnected();
    return client;
  }

  private static String answer(String[] words, CuratorFramework client, CuratorFramework other) {
    try {
      double took =
          switch (words[0]) {
            case "pairs" -> pairs(client, Integer.parseInt(words[1]), words[2]);
            case "tasks" ->
                tasks(client, Integer.parseInt(words[1]), Integer.parseInt(words[2]), words[3]);
            case "handoff" -> handOff(client, other, Integer.parseInt(words[1]), words[2]);
            default -> throw new IllegalArgumentException("unknown: " + words[0]);
          };
      return String.format(Locale.ROOT, "%.3f", took);
    } catch (Exception error) {
      return "error " + error;
    }
  }

  private static double pairs(CuratorFramework client, int count, String path) throws Exception {
    InterProcessMutex mutex = new InterProcessMutex(client, path);
    long started = System.nanoTime();
    for (int pair = 0; pair < count; pair += 1) {
      mutex.acquire();
      mutex.release();
    }
    return since(started);
  }

  private static double tasks(CuratorFramework client, int threads, int count, String path)
      throws InterruptedException, ExecutionException {
    InterProcessMutex mutex = new InterProcessMutex(client, path);
    AtomicInteger left = new AtomicInteger(count);
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      Future<?>[] working = new Future<?>[threads];
      long started = System.nanoTime();
      for (int thread = 0; thread < threads; thread += 1) {
        working[thread] =
            pool.submit(
                () -> {
                  while (left.getAndDecrement() > 0) {
                    mutex.acquire();
                    mutex.release();
                  }
                  return null;
                });
      }
      for (Future<?> work : working) work.get();
      return since(started);
    } finally {
      pool.shutdownNow();
    }
  }

  /** The holder releases only when the other has had time to stand in line and to set its watch. */
  private static double handOff(CuratorFramework client, CuratorFramework other, int count, String path)
      throws Exception {
    InterProcessMutex holder = new InterProcessMutex(client, path);
    InterProcessMutex waiter = new InterProcessMutex(other, path);
    double[] took = new double[count];
    ExecutorService pool = Executors.newSingleThreadExecutor();
    try {
      for (int round = 0; round < count; round += 1) {
        holder.acquire();
        CountDownLatch asking = new CountDownLatch(1);
        AtomicLong acquired = new AtomicLong();
        Future<?> waiting =
            pool.submit(
                () -> {
                  asking.countDown();
                  waiter.acquire();
                  acquired.set(System.nanoTime());
                  waiter.release();
                  return null;
                });
        asking.await();
        while (holder.getParticipantNodes().size() < 2) Thread.sleep(1);
        Thread.sleep(5);
        long released = System.nanoTime();
        holder.release();
        waiting.get();
        took[round] = (acquired.get() - released) / 1e6;
      }
    } finally {
      pool.shutdownNow();
    }
    Arrays.sort(took);
    return took[(count - 1) / 2];
  }

  private static double since(long started) {
    return (System.nanoTime() - started) / 1e6;
  }
}
