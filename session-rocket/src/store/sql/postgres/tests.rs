use super::*;

#[tokio::test]
async fn statements_that_would_pile_up_in_the_server_are_refused() {
    let options = Options::new("postgres://127.0.0.1:1/site?sslmode=disable&statement-cache-capacity=0");
    let error = PostgresStore::open(&options).await.err().unwrap();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("PgBouncer"), "{error}");
}
